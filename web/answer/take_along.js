// The request as something to paste, and the whole answer as JSON.
import { copy, el, save } from '../dom.js';
import { exported, plainBodyOf } from './record.js';
import { curlOf, filesOf, pythonOf } from './snippets.js';

const FORMS = [
  ['As Python', (record) => pythonOf(plainBodyOf(record), record), filesOf],
  ['As curl', (record) => curlOf(plainBodyOf(record), record), filesOf],
  ['As JSON', (record) => JSON.stringify(exported(record), null, 2), () => []],
];
const MOST_SHOWN = 120; // characters of base64

const abbreviated = (code) =>
  code.replace(/(;base64,[A-Za-z0-9+/]{40})([A-Za-z0-9+/=]+)/g, (whole, head, rest) =>
    rest.length > MOST_SHOWN ? `${head}…` : whole,
  );

function files(list) {
  if (list.length === 0) return null;
  const button = ({ name, blob }) =>
    el('button', { type: 'button', class: 'quiet', onclick: () => save(blob, name) }, `Save ${name}`);
  return el('p', { class: 'code-files' }, 'It reads the image from the folder that it runs in: ', list.map(button));
}

// Two nodes: a row of buttons, and the box that they fill.
export function takeAlong(record) {
  const out = el('div', { class: 'code', hidden: true });
  const row = el('div', { class: 'card-actions' }, FORMS.map(toggle));

  function show(name, code, needed) {
    const copyButton = el(
      'button',
      { type: 'button', class: 'quiet copy', onclick: (event) => copy(code, event.currentTarget) },
      'Copy',
    );
    const shown = el('pre', { tabindex: '0', 'aria-label': name }, abbreviated(code));
    out.replaceChildren(...[files(needed), shown, copyButton].filter(Boolean));
  }

  function toggle([name, write, needed]) {
    const onclick = (event) => {
      const open = event.currentTarget.getAttribute('aria-expanded') !== 'true';
      for (const button of row.children)
        button.setAttribute('aria-expanded', String(open && button === event.currentTarget));
      out.hidden = !open;
      if (open) show(name, write(record), needed(record));
    };
    return el('button', { type: 'button', class: 'quiet', 'aria-expanded': 'false', onclick }, name);
  }

  return [row, out];
}
