// Small tools that every part of the page uses. Text from people and servers becomes text nodes, never markup.

export const byId = (id) => document.getElementById(id);

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'vars') for (const [key, v] of Object.entries(value)) node.style.setProperty(`--${key}`, v);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// el('p', {class: 'x', onclick: f, vars: {width: '3%'}}, 'text', child): `vars` become custom properties.
export const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
export const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

// Says `text` to a screen reader.
export function announce(text) {
  const region = byId('announcer');
  region.textContent = '';
  requestAnimationFrame(() => { region.textContent = text; });
}

export function milliseconds(seconds) {
  const ms = seconds * 1000;
  if (ms >= 10000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return ms >= 100 ? `${ms.toFixed(0)} ms` : ms >= 0.05 || ms === 0 ? `${ms.toFixed(ms === 0 ? 0 : 1)} ms` : '<0.1 ms';
}

const plain = new Intl.NumberFormat('en-GB');
export const count = (number) => plain.format(number);

export function byteSize(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(bytes < 1e4 ? 1 : 0)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

export const percent = (share, digits = 0) => `${(share * 100).toFixed(digits)} %`;
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

// Calls `action` once, `wait` milliseconds after the last call.
export function debounced(wait, action) {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(action, wait); };
}

// Arrow keys go through the buttons of `box`; Tab leaves it. Call again after its children changed.
export function roving(box) {
  const items = () => [...box.querySelectorAll('[data-item]')];
  const only = (chosen) => items().forEach((item) => { item.tabIndex = item === chosen ? 0 : -1; });
  const first = items();
  if (first.length > 0 && !first.some((item) => item.tabIndex === 0)) only(first[0]);
  if (box.dataset.roving) return;
  box.dataset.roving = 'yes';
  box.addEventListener('focusin', (event) => { if (event.target.dataset.item !== undefined) only(event.target); });
  box.addEventListener('keydown', (event) => {
    const all = items(), at = all.indexOf(event.target);
    if (at < 0) return;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: perRow(all), ArrowUp: -perRow(all) }[event.key];
    let next = event.key === 'Home' ? 0 : event.key === 'End' ? all.length - 1 : step === undefined ? -1 : at + step;
    if (step !== undefined && (next < 0 || next >= all.length)) next = at;
    if (next < 0) return;
    event.preventDefault();
    all[next].focus();
  });
}

function perRow(items) {
  const top = items[0].offsetTop, next = items.findIndex((item) => item.offsetTop > top);
  return next < 0 ? items.length : next;
}

export async function copy(text, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
    announce('Copied');
  } catch {
    button.textContent = 'Not allowed';
    announce('The browser does not allow copying here');
  }
  setTimeout(() => { button.textContent = label; }, 1500);
}

// One message of a kind: 'error', 'warning' or 'info'.
export const notice = (kind, title, text, ...more) =>
  el('div', { class: `notice notice-${kind}` }, el('p', {}, el('strong', {}, title), text ? ` ${text}` : ''), ...more);
