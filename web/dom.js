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
  requestAnimationFrame(() => {
    region.textContent = text;
  });
}

// Calls `action` once, `wait` milliseconds after the last call.
export function debounced(wait, action) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, wait);
  };
}

// Runs `change`. If that takes away what had the focus, the one of `boxes` that it was in has it, and Tab goes on from there.
export function keepingFocus(boxes, change) {
  const box = boxes.find((each) => each.contains(document.activeElement));
  const result = change();
  if (box && document.activeElement === document.body) box.focus({ preventScroll: true });
  return result;
}

// Whether `button` works now. Unlike a disabled one it keeps the focus, so its listener has to ask isOff.
export const setOff = (button, off) => button.setAttribute('aria-disabled', String(off));
export const isOff = (button) => button.getAttribute('aria-disabled') === 'true';

// Arrow keys go through the buttons of `box`; Tab leaves it. Call again after its children changed.
export function roving(box) {
  const items = () => [...box.querySelectorAll('[data-item]')];
  const only = (chosen) =>
    items().forEach((item) => {
      item.tabIndex = item === chosen ? 0 : -1;
    });
  const first = items();
  if (first.length > 0 && !first.some((item) => item.tabIndex === 0)) only(first[0]);
  if (box.dataset.roving) return;
  box.dataset.roving = 'yes';
  box.addEventListener('focusin', (event) => {
    if (event.target.dataset.item !== undefined) only(event.target);
  });
  box.addEventListener('keydown', (event) => {
    const all = items(),
      at = all.indexOf(event.target);
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
  const top = items[0].offsetTop,
    next = items.findIndex((item) => item.offsetTop > top);
  return next < 0 ? items.length : next;
}

// Pages that came by plain http from another machine have no clipboard of their own.
async function toClipboard(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = el('textarea', { class: 'sr-only', 'aria-hidden': 'true' });
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  if (!copied) throw new Error('not copied');
  return undefined;
}

// Copies `text`, and says so on `button`.
export async function copy(text, button) {
  const label = button.textContent;
  const words = await toClipboard(text).then(
    () => 'Copied',
    () => 'Not allowed',
  );
  button.style.setProperty('min-width', `${button.offsetWidth}px`);
  button.textContent = words;
  button.focus();
  announce(words === 'Copied' ? words : 'The browser does not allow copying here');
  setTimeout(() => {
    button.textContent = label;
  }, 1500);
}

// One message of a kind: 'error', 'warning' or 'info'.
export const notice = (kind, title, text, ...more) =>
  el('div', { class: `notice notice-${kind}` }, el('p', {}, el('strong', {}, title), text ? ` ${text}` : ''), ...more);

// Keeps `box` as high as it has been at its present width, so that what lies below stays under the pointer.
export function keepHeight(box) {
  let width = 0;
  new ResizeObserver(() => {
    if (box.offsetWidth !== width) box.style.removeProperty('min-height');
    width = box.offsetWidth;
    if (box.childElementCount > 0) box.style.setProperty('min-height', `${box.getBoundingClientRect().height}px`);
  }).observe(box);
}

// Downloads `blob` under `name`.
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  el('a', { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
