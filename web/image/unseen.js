// Copies of an image file with the same pixels and other bytes: the caches, which go by the bytes, do not know them.

const bytesOf = (text) => new TextEncoder().encode(text);
const note = () => bytesOf(`unseen ${crypto.getRandomValues(new Uint32Array(4)).join(' ')}`);

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; ++bit) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});
const crcOf = (bytes) => ~bytes.reduce((crc, byte) => CRC[(crc ^ byte) & 0xff] ^ (crc >>> 8), ~0);

function number(value, littleEndian, width = 4) {
  const bytes = new DataView(new ArrayBuffer(width));
  if (width === 2) bytes.setUint16(0, value, littleEndian);
  else bytes.setUint32(0, value, littleEndian);
  return new Uint8Array(bytes.buffer);
}

// A comment after the start of the image.
function jpeg(file) {
  const text = note();
  return [file.slice(0, 2), Uint8Array.of(0xff, 0xfe), number(text.length + 2, false, 2), text, file.slice(2)];
}

// A text chunk after the header, which is 8 + 25 bytes.
async function png(file) {
  const chunk = new Uint8Array(await new Blob([bytesOf('tEXtComment\0'), note()]).arrayBuffer());
  return [file.slice(0, 33), number(chunk.length - 4, false), chunk, number(crcOf(chunk), false), file.slice(33)];
}

// A chunk of an unknown kind at the end, of even length.
function webp(file) {
  const text = note();
  const chunk = text.length % 2 === 0 ? text : text.slice(1);
  const size = file.size + 8 + chunk.length - 8;
  return [file.slice(0, 4), number(size, true), file.slice(8), bytesOf('NOTE'), number(chunk.length, true), chunk];
}

const WRITERS = { 'image/jpeg': jpeg, 'image/png': png, 'image/webp': webp };

// Resolves to such a copy of `file` (a Blob), or to null if there is none for its type.
export async function unseenCopy(file) {
  const write = WRITERS[file?.type];
  return write ? new Blob(await write(file), { type: file.type }) : null;
}
