// All answers of this page, newest first.
import { exported } from './answer/record.js';
import { announce, byId, el, save } from './dom.js';
import { count, cssPercent, milliseconds } from './format.js';

const KEPT = 200; // answers

// onShow(record): show it again.
export function createHistory({ onShow }) {
  let records = [],
    shown = [],
    chosen = null;

  function face(images) {
    if (images.length === 0) return el('span', { class: 'muted' }, 'text');
    const more = images.length > 1 ? el('span', { class: 'muted more' }, `+${images.length - 1}`) : null;
    const [first] = images;
    return [
      first.blob
        ? el('img', { src: first.url, alt: first.name, width: 36, height: 36 })
        : el('span', { class: 'muted' }, 'https'),
      more,
    ];
  }

  function row(record, slowest) {
    const { timings } = record.diptych;
    const time = new Date(record.at).toLocaleTimeString([], { hour12: false });
    return el(
      'tr',
      { class: record === chosen ? 'chosen' : null },
      el('td', { class: 'cell-image' }, face(record.images)),
      el(
        'td',
        { class: 'cell-question' },
        el(
          'button',
          {
            type: 'button',
            class: 'link',
            'aria-current': record === chosen ? 'true' : null,
            onclick: () => {
              choose(record);
              onShow(record);
            },
          },
          record.question || 'caption',
        ),
        el('span', { class: 'muted when' }, time),
      ),
      el('td', { class: 'cell-answer' }, record.text || '(nothing)'),
      el(
        'td',
        { class: 'number', 'data-name': 'tokens' },
        record.usage
          ? `${count(record.usage.prompt_tokens)} \u2192 ${count(record.usage.completion_tokens)}`
          : '\u2013',
      ),
      el('td', { class: 'number', 'data-name': 'first token' }, milliseconds(timings.time_to_first_token)),
      el(
        'td',
        { class: 'number total', 'data-name': 'total', vars: { size: cssPercent(timings.total / slowest) } },
        milliseconds(timings.total),
      ),
    );
  }

  function show() {
    byId('history-export').disabled = byId('history-clear').disabled = records.length === 0;
    if (records.length === 0) {
      byId('history-body').replaceChildren(
        el('p', { class: 'empty muted' }, 'Answers gather here, to compare, show again and export.'),
      );
      return;
    }
    const slowest = Math.max(...records.map((record) => record.diptych.timings.total), 1e-9);
    const heads = ['Image', 'Question', 'Answer', 'Tokens', 'First token', 'Total'];
    const links = () => [...byId('history-body').querySelectorAll('.link')];
    const focused = shown[links().indexOf(document.activeElement)];
    shown = records;
    byId('history-body').replaceChildren(
      el(
        'table',
        { class: 'history' },
        el(
          'thead',
          {},
          el(
            'tr',
            {},
            heads.map((head, i) => el('th', { scope: 'col', class: i > 2 ? 'number' : null }, head)),
          ),
        ),
        el(
          'tbody',
          {},
          records.map((record) => row(record, slowest)),
        ),
      ),
    );
    links()[records.indexOf(focused)]?.focus({ preventScroll: true });
  }

  function choose(record) {
    chosen = record;
    show();
  }

  byId('history-clear').addEventListener('click', () => {
    records = [];
    chosen = null;
    show();
    announce('History cleared');
    byId('question').focus();
  });
  byId('history-export').addEventListener('click', () => {
    const text = JSON.stringify(
      { exported_at: new Date().toISOString(), answers: [...records].reverse().map(exported) },
      null,
      2,
    );
    save(new Blob([text], { type: 'application/json' }), 'diptych-answers.json');
  });

  show();
  return {
    add(record) {
      records = [record, ...records].slice(0, KEPT);
      choose(record);
    },
  };
}
