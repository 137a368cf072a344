// Where the time went, as a table with bars: its numbers are text, so whoever cannot see the bars can read them.
import { el } from '../dom.js';
import { cssPercent, milliseconds } from '../format.js';

// In the order of the pipeline: the tier that the time was spent in, and when: 'once' in this order, from the arrival to the first
// token; 'after' it, between the others of its kind; or 'spread' over moments that are not known.
const STAGES = {
  gateway: ['Gateway', 'wire', 'spread', 'Checks, relay and transport, there and back'],
  tokenize: ['Tokenise', 'language', 'once', 'Text to token ids'],
  token_transfer: ['Transfer', 'wire', 'once', 'The image to the vision tier, its visual tokens back'],
  image_decode: ['Decode file', 'vision', 'once', 'The encoded file to pixels'],
  image_resize: ['Resize', 'vision', 'once', 'To the model\u2019s square, normalised'],
  vision_queue: ['Vision queue', 'wait', 'once', 'Waiting for the vision tier'],
  vit: ['Vision transformer', 'vision', 'once', 'Pixels to visual tokens'],
  qformer: ['Q-Former', 'qformer', 'once', 'Visual tokens to query tokens, projected'],
  language_queue: [
    'Language queue',
    'wait',
    'spread',
    'Waiting for the language engine, before the first token and between the others',
  ],
  prefill: ['Prefill', 'language', 'once', 'The decoder reads the prompt, up to the first token'],
  decode: ['Decode tokens', 'language', 'after', 'The tokens after the first'],
  detokenize: ['Detokenise', 'language', 'spread', 'Token ids to text, and handing it on'],
  unattributed: ['Unattributed', 'wait', 'spread', 'What none of the stages covers'],
};
// Numbers of the timings that are no stage.
const NOT_STAGES = new Set(['total', 'time_to_first_token', 'decode_tokens_per_second']);

// "relay_wait" -> "Relay wait"
const humanise = (key) => (key[0].toUpperCase() + key.slice(1)).replaceAll('_', ' ');

// The stages of `timings` in order; those that this page does not know yet stand before the remainder.
function stagesOf(timings) {
  const known = Object.keys(STAGES).filter((key) => key in timings || key !== 'unattributed');
  const isStage = ([key, value]) => typeof value === 'number' && !(key in STAGES) && !NOT_STAGES.has(key);
  const others = Object.entries(timings)
    .filter(isStage)
    .map(([key]) => key);
  const at = known.indexOf('unattributed');
  if (at < 0) known.push(...others);
  else known.splice(at, 0, ...others);
  return known.map((key) => [
    key,
    ...(STAGES[key] ?? [humanise(key), 'wait', 'spread', 'A stage that this page has no words for']),
  ]);
}

// timings: as in the reply, seconds. Returns [{key, name, tier, explains, seconds, from, summed}]: `from` is the second at which the bar
// begins. Of a `summed` stage only the length is known; its bar lies where its moments do, as one piece.
export function layOut(timings) {
  const first = timings.time_to_first_token ?? 0;
  const within = (from, seconds) => Math.max(0, Math.min(from, timings.total - seconds));
  let before = 0,
    after = first;
  return stagesOf(timings).map(([key, name, tier, when, explains]) => {
    const seconds = timings[key] ?? 0;
    const from = within(when === 'after' ? after : before, seconds);
    if (when === 'once') before += seconds;
    if (when === 'after') after += seconds;
    return { key, name, tier, explains, seconds, from, summed: when !== 'once' };
  });
}

function row({ name, tier, explains, seconds, from, summed }, total) {
  const kind = seconds > 0 ? `lap lap-${tier}${summed ? ' lap-summed' : ''}` : 'lap lap-none';
  const bar = el('span', { class: 'bar', vars: { from: cssPercent(from / total), size: cssPercent(seconds / total) } });
  const number = seconds > 0 ? milliseconds(seconds) : '\u2013';
  return el(
    'tr',
    { class: kind },
    el('th', { scope: 'row', title: explains }, name),
    el('td', { class: 'track' }, bar),
    el('td', { class: 'number' }, number),
  );
}

const key = (kind, text) => el('span', { class: `key key-${kind}` }, text);
const LEGEND = [
  ['vision', 'vision tier'],
  ['qformer', 'Q-Former'],
  ['language', 'language tier'],
  ['wire', 'wire'],
  ['wait', 'waiting'],
  ['summed', 'several moments in one bar'],
  ['first', 'first token'],
];

function notes({ cache_hits: hits }) {
  const known = hits?.projected_tokens > 0 || hits?.vision_tokens > 0;
  const words = 'The image was known already, so its stages cost nothing or little.';
  return known ? el('tr', { class: 'lap-note' }, el('td', { colspan: '3' }, words)) : null;
}

export function waterfall(timings) {
  const total = Math.max(timings.total, 1e-9);
  const heads = ['Stage', 'Bar', 'Time'].map((head) => el('th', { scope: 'col' }, head));
  const sum = el(
    'tr',
    {},
    el('th', { scope: 'row' }, 'Total'),
    el('td', { class: 'track' }),
    el('td', { class: 'number' }, milliseconds(timings.total)),
  );
  return el(
    'table',
    { class: 'waterfall', vars: { first: cssPercent(Math.min(1, (timings.time_to_first_token ?? 0) / total)) } },
    el(
      'caption',
      {},
      'Where the time went ',
      el(
        'span',
        { class: 'keys' },
        LEGEND.map(([kind, text]) => key(kind, text)),
      ),
    ),
    el('thead', { class: 'sr-only' }, el('tr', {}, heads)),
    el(
      'tbody',
      {},
      layOut(timings).map((stage) => row(stage, total)),
    ),
    el('tfoot', {}, sum, notes(timings)),
  );
}
