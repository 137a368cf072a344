// Charts as plain elements: their numbers are text in the page, so whoever cannot see the bars can read them.
import { count, el, milliseconds, percent, plural, svg } from './dom.js';

// In the order of the pipeline, with the tier that the time was spent in.
export const STAGES = [
  ['gateway', 'Gateway', 'wire', 'Checks, relay and transport'],
  ['tokenize', 'Tokenise', 'language', 'Text to token ids'],
  ['token_transfer', 'Transfer', 'wire', 'The image to the vision tier, its visual tokens back'],
  ['image_decode', 'Decode file', 'vision', 'The encoded file to pixels'],
  ['image_resize', 'Resize', 'vision', 'To the model\u2019s square, normalised'],
  ['vision_queue', 'Vision queue', 'wait', 'Waiting for the vision tier'],
  ['vit', 'Vision transformer', 'vision', 'Pixels to visual tokens'],
  ['language_queue', 'Language queue', 'wait', 'Waiting for the language engine'],
  ['qformer', 'Q-Former', 'qformer', 'Visual tokens to query tokens, projected'],
  ['prefill', 'Prefill', 'language', 'The decoder reads the prompt, up to the first token'],
  ['decode', 'Decode tokens', 'language', 'The tokens after the first'],
  ['detokenize', 'Detokenise', 'language', 'Token ids to text'],
  ['unattributed', 'Unattributed', 'wait', 'What none of the stages covers'],
];

// timings: seconds, as in the reply. Each stage begins where the one above ends.
export function waterfall(timings) {
  const known = timings.cache_hits?.projected_tokens > 0 || timings.cache_hits?.vision_tokens > 0;
  const total = Math.max(timings.total, 1e-9);
  let begin = 0;
  const rows = STAGES.map(([key, name, tier, explains]) => {
    const seconds = timings[key] ?? 0;
    const row = el('tr', { class: seconds > 0 ? `lap lap-${tier}` : 'lap lap-none' },
      el('th', { scope: 'row', title: explains }, name),
      el('td', { class: 'track' }, el('span', { class: 'bar', vars: { from: percent(begin / total, 3).replace(' ', ''),
                                                                      size: percent(seconds / total, 3).replace(' ', '') } })),
      el('td', { class: 'number' }, seconds > 0 ? milliseconds(seconds) : '\u2013'));
    begin += seconds;
    return row;
  });
  return el('table', { class: 'waterfall' },
    el('caption', {}, 'Where the time went ',
      el('span', { class: 'keys' }, key('vision', 'vision tier'), key('qformer', 'Q-Former'), key('language', 'language tier'),
        key('wire', 'wire'), key('wait', 'waiting'))),
    el('thead', { class: 'sr-only' }, el('tr', {}, el('th', { scope: 'col' }, 'Stage'), el('th', { scope: 'col' }, 'Bar'),
      el('th', { scope: 'col' }, 'Time'))),
    el('tbody', {}, rows),
    el('tfoot', {}, el('tr', {}, el('th', { scope: 'row' }, 'Total'), el('td', { class: 'track' }), el('td', { class: 'number' }, milliseconds(timings.total))),
      known ? el('tr', { class: 'lap-note' }, el('td', { colspan: '3' }, 'The image was known already, so its stages cost nothing or little.')) : null));
}

const key = (kind, text) => el('span', { class: `key key-${kind}` }, text);

// budget: a ContextBudget, before (generated 0, the reserve is counted) or after the answer.
export function budgetBar(budget, { before = false, denseRemaining } = {}) {
  const answer = before ? budget.reserved_output : budget.generated;
  const left = budget.remaining - (before ? budget.reserved_output : 0);
  const parts = [
    ['image', budget.image_tokens, 'image'], ['text', budget.text_tokens, 'text'], ['history', budget.history_tokens, 'earlier turns'],
    ['answer', answer, before ? 'kept for the answer' : 'answer'],
  ].filter(([, tokens]) => tokens > 0);
  const used = budget.window - left;
  const scale = Math.max(budget.window, used);
  const share = (tokens) => percent(tokens / scale, 3).replace(' ', '');
  const state = left < 0 ? 'over' : left < budget.window * 0.1 ? 'tight' : 'fine';
  const words = parts.flatMap(([kind, tokens, name], i) => [i > 0 ? ' + ' : '', el('span', { class: `part part-of-${kind}` }, `${count(tokens)} ${name}`)]);
  words.push(left < 0 ? `; the window has ${count(budget.window)}` : ` of ${count(budget.window)} tokens, ${count(left)} left`);
  const dense = budget.dense_patch_tokens > budget.image_tokens
    ? el('p', { class: 'dense' }, el('span', { class: 'dense-track', 'aria-hidden': 'true' },
        el('span', { class: 'dense-bar', vars: { size: share(Math.min(budget.dense_patch_tokens, scale)) } })),
        el('span', {}, `without the Q-Former, ${count(budget.dense_patch_tokens)} for the image alone`, left >= 0 && denseRemaining !== undefined && denseRemaining < (before ? budget.reserved_output : 0)
          ? ', which would not fit' : ''))
    : null;
  return el('div', { class: `budget budget-${state}` },
    el('div', { class: 'budget-track', 'aria-hidden': 'true' },
      parts.map(([kind, tokens]) => el('span', { class: `budget-part part-${kind}`, vars: { size: share(tokens) } })),
      left < 0 ? el('span', { class: 'budget-limit', vars: { at: share(budget.window) } }) : null),
    el('p', { class: 'budget-words' }, el('span', {}, words),
      budget.turns_dropped > 0 ? el('span', { class: 'dropped' }, ` · ${plural(budget.turns_dropped, 'earlier turn')} left out`) : null),
    dense);
}

// values: numbers, oldest first. Decorative: the newest stands beside it as text.
export function sparkline(values, length) {
  const top = Math.max(1, ...values), width = 96, height = 22;
  const x = (i) => (width * (length - values.length + i)) / (length - 1);
  const y = (value) => height - 1.5 - (value / top) * (height - 3);
  const points = values.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`);
  const chart = svg('svg', { class: 'sparkline', viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true', preserveAspectRatio: 'none' },
    svg('line', { x1: 0, x2: width, y1: height - 1, y2: height - 1, class: 'spark-base' }));
  if (values.length > 1) {
    chart.append(svg('polygon', { points: `${x(0)},${height} ${points.join(' ')} ${width},${height}`, class: 'spark-area' }),
      svg('polyline', { points: points.join(' '), class: 'spark-line' }));
  }
  return chart;
}
