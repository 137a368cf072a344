// Where the time went, as a table with bars: its numbers are text, so that screen readers can read them.
import { el } from '../dom.js';
import { cssPercent, milliseconds } from '../format.js';

// In the order of the pipeline: the tier that the time was spent in, and when. 'before' the first token, in this order; 'parts' is the
// same of a sum of several pieces between which others lie; 'after' the first token, taking turns with the others of its kind; 'then', once
// these are over; 'around', before and after all others; 'rest', anywhere.
const STAGES = {
  gateway: ['Gateway', 'wire', 'around', 'Checks, relay and transport, there and back'],
  tokenize: ['Tokenize', 'language', 'before', 'Text to token ids'],
  token_transfer: ['Transfer', 'wire', 'parts', 'The image to the vision tier, its visual tokens back'],
  image_decode: ['Decode file', 'vision', 'before', 'The encoded file to pixels'],
  image_resize: ['Resize', 'vision', 'before', 'To the model\u2019s square, normalised'],
  vision_queue: ['Vision queue', 'wait', 'parts', 'Waiting for the vision tier'],
  vit: ['Vision transformer', 'vision', 'before', 'Pixels to visual tokens'],
  qformer: ['Q-Former', 'qformer', 'before', 'Visual tokens to query tokens, projected'],
  language_queue: ['Language queue', 'wait', 'parts', 'Waiting for the language engine'],
  prefill: ['Prefill', 'language', 'before', 'The decoder reads the prompt, up to the first token'],
  decode: ['Decode tokens', 'language', 'after', 'The tokens after the first'],
  decode_queue: ['Decode queue', 'wait', 'after', 'Waiting for the language engine between tokens'],
  detokenize: ['Detokenize', 'language', 'after', 'Token ids to text'],
  delivery: ['Delivery', 'wire', 'after', 'Tokens to the stream that carries them'],
  relevance: ['Relevance', 'language', 'then', 'One more pass over the whole: where each token looked'],
  unattributed: ['Unattributed', 'wait', 'rest', 'What none of the stages covers'],
};
const LATER_STAGES = new Set(['decode_queue', 'delivery', 'relevance']); // that not every server tells
const NOT_STAGES = new Set(['total', 'first_token', 'time_to_first_token', 'decode_tokens_per_second', 'resumed']);

// "relay_wait" -> "Relay wait"
const humanise = (key) => (key[0].toUpperCase() + key.slice(1)).replaceAll('_', ' ');

// The stages of `timings` in order; those that this page does not know stand before the remainder.
function stagesOf(timings) {
  const known = Object.keys(STAGES).filter((key) => key in timings || !LATER_STAGES.has(key));
  const isUnknown = ([key, value]) => typeof value === 'number' && !(key in STAGES) && !NOT_STAGES.has(key);
  const unknown = Object.entries(timings).filter(isUnknown);
  known.splice(known.indexOf('unattributed'), 0, ...unknown.map(([key]) => key));
  const unnamed = (key) => [humanise(key), 'wait', 'rest', 'A stage that this page has no words for'];
  const stages = known.map((key) => [key, ...(STAGES[key] ?? unnamed(key)), timings[key] ?? 0]);
  return 'first_token' in timings ? stages : stages.map(asBefore);
}

// A server that does not tell the moment of the first token counts in the language queue what was waited after it, too.
const asBefore = (stage) => (stage[0] === 'language_queue' ? stage.with(3, 'rest') : stage);

// The moment of the first token: seconds from the request's arrival.
export const firstToken = (timings) => timings.first_token ?? timings.time_to_first_token ?? 0;

// timings: as in the reply, seconds. Returns [{key, name, tier, explains, seconds, pieces, summed}]: `pieces` are [from, seconds]. Of a
// `summed` stage only the length is known; its piece lies where its moments do.
export function layOut(timings) {
  const stages = stagesOf(timings),
    { total } = timings,
    first = Math.min(firstToken(timings), total);
  const sum = (...kinds) =>
    stages.reduce((all, [, , , when, , seconds]) => all + (kinds.includes(when) ? seconds : 0), 0);
  const gateway = timings.gateway ?? 0;
  const head = Math.min(gateway, Math.max(0, first - sum('before', 'parts'))); // the part of `around` that came first
  const next = { before: head, after: first, then: Math.max(first, first + sum('after')) };

  function piecesOf(when, seconds) {
    if (when === 'around')
      return [
        [0, head],
        [total - (seconds - head), seconds - head],
      ];
    const line = when === 'parts' ? 'before' : when;
    const from = line in next ? next[line] : total;
    if (line in next) next[line] += seconds;
    return [[Math.max(0, Math.min(from, total - seconds)), seconds]];
  }

  const summed = new Set(['parts', 'after', 'rest']);
  return stages.map(([key, name, tier, when, explains, seconds]) => {
    const pieces = piecesOf(when, seconds).filter(([, length]) => length > 0);
    return { key, name, tier, explains, seconds, pieces, summed: summed.has(when) };
  });
}

function row({ name, tier, explains, seconds, pieces, summed }, total) {
  const kind = seconds > 0 ? `lap lap-${tier}${summed ? ' lap-summed' : ''}` : 'lap lap-none';
  const bar = ([from, length]) =>
    el('span', { class: 'bar', vars: { from: cssPercent(from / total), size: cssPercent(length / total) } });
  const number = seconds > 0 ? milliseconds(seconds) : '\u2013';
  const head = el('th', { scope: 'row', title: explains }, name);
  return el(
    'tr',
    { class: kind },
    head,
    el('td', { class: 'track' }, pieces.map(bar)),
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
    { class: 'waterfall', vars: { first: cssPercent(Math.min(1, firstToken(timings) / total)) } },
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
