// Numbers as people read them.

export function milliseconds(seconds) {
  const ms = seconds * 1000;
  if (ms >= 10000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  if (ms >= 100) return `${ms.toFixed(0)} ms`;
  if (ms === 0) return '0 ms';
  return ms >= 0.05 ? `${ms.toFixed(1)} ms` : '<0.1 ms';
}

const plain = new Intl.NumberFormat('en-GB');
export const count = (number) => plain.format(number);

export function byteSize(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(bytes < 1e4 ? 1 : 0)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

export const percent = (share, digits = 0) => `${(share * 100).toFixed(digits)} %`;
// For style sheets.
export const cssPercent = (share) => `${(share * 100).toFixed(3)}%`;
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

export function parameters(number) {
  if (number >= 1e9) return `${(number / 1e9).toFixed(1)} billion parameters`;
  return number >= 1e6 ? `${(number / 1e6).toFixed(1)} million parameters` : `${count(number)} parameters`;
}
