// An answer token by token: how probable each was, what else could have stood there, and where it looked.
import { el, keepHeight, roving } from '../dom.js';
import { percent } from '../format.js';
import { gridOf } from '../image/heat.js';

// Tokens whose bytes make whole characters: [{text, from, to, logprob, top}], from and to are positions in `entries`.
export function wholeTokens(entries) {
  const decoder = new TextDecoder();
  const tokens = [];
  let from = 0;
  entries.forEach((entry, i) => {
    const text = decoder.decode(new Uint8Array(entry.bytes ?? []), { stream: true });
    if (text === '' && (entry.bytes ?? []).length > 0 && i + 1 < entries.length) return; // the rest of the character follows
    tokens.push({ text, from, to: i, logprob: entry.logprob, top: entry.top_logprobs ?? [] });
    from = i + 1;
  });
  return tokens;
}

const isEnd = (token) => token.text === '' || token.text === '</s>';
const visible = (text) => text.replace(/^ /, '\u2423') || 'end';
const probability = (logprob) => percent(Math.exp(logprob), 1);

// The map of `token` over the image that is on the stage, or over the first one. null if it was not asked for.
function mapOf(record, token, selected) {
  const looked = record.diptych.relevance?.[token.from];
  if (!looked?.images?.length) return null;
  const at = Math.max(0, record.images.indexOf(selected()));
  const map = looked.images[at] ?? looked.images[0];
  const label = `the token \u201c${token.text.trim() || 'end'}\u201d`;
  return { label, grid: gridOf(map), image: record.images[at], share: looked.image_share ?? 0 };
}

function nameOf(token, map) {
  const words = isEnd(token) ? 'end of the answer' : token.text.trim() || 'space';
  const looked = map ? `, ${percent(map.share)} of its attention on the image` : '';
  return `${words}: probability ${probability(token.logprob)}${looked}`;
}

// stage: {selected(): image, show(map or null), paintSmall(canvas, image, map)}.
export function tokenLine(record, stage) {
  const asked = Boolean(record.diptych.relevance);
  const hint = asked
    ? 'Point at a word, or go through them with the arrow keys, to see where it looked: a hint, not an explanation.'
    : 'Point at a word, or go through them with the arrow keys, for its probability.';
  const detail = el('p', { class: 'token-detail muted' }, el('span', {}, hint));
  let pinned = null;

  function wordsOf(token, map) {
    const small = map ? el('canvas', { class: 'token-tile', width: 192, height: 192, 'aria-hidden': 'true' }) : null;
    if (small) stage.paintSmall(small, map.image, map);
    const others = token.top.filter((other) => other.token !== token.text).slice(0, 3);
    const rest = others.map((other) => `${visible(other.token)} ${probability(other.logprob)}`).join(', ');
    const looked = map ? ` \u00b7 ${percent(map.share)} of its attention on the image` : '';
    const words = ` p ${probability(token.logprob)}${rest ? ` \u00b7 else ${rest}` : ''}${looked}`;
    return [small, el('span', {}, el('code', {}, visible(token.text)), words)].filter(Boolean);
  }

  function look(token) {
    const map = token ? mapOf(record, token, stage.selected) : null;
    stage.show(map);
    detail.replaceChildren(...(token ? wordsOf(token, map) : [el('span', {}, hint)]));
  }

  const tokens = wholeTokens(record.entries);
  const spans = tokens.map((token, i) => span(token, i));
  const line = el('div', { class: 'said', role: 'toolbar', 'aria-label': 'The answer, token by token' }, spans);

  function pin(at) {
    pinned = at === null || pinned === tokens[at] ? null : tokens[at];
    spans.forEach((other, i) => other.setAttribute('aria-pressed', String(pinned === tokens[i])));
    look(pinned);
  }

  function onKey(event, i) {
    if (event.key === 'Escape') pin(null);
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    pin(i);
  }

  function span(token, i) {
    const map = mapOf(record, token, stage.selected);
    const pass = () => look(token),
      leave = () => look(pinned);
    const text = isEnd(token) ? 'end' : i === 0 ? token.text.trimStart() : token.text;
    const state = {
      class: isEnd(token) ? 'token token-end' : 'token',
      role: 'button',
      tabindex: '-1',
      'data-item': '',
      'aria-pressed': 'false',
    };
    const listeners = {
      onpointerenter: pass,
      onpointerleave: leave,
      onfocus: pass,
      onblur: leave,
      onclick: () => pin(i),
      onkeydown: (event) => onKey(event, i),
    };
    return el(
      'span',
      { ...state, ...listeners, 'aria-label': nameOf(token, map), vars: { share: map ? map.share.toFixed(3) : '0' } },
      text,
    );
  }

  roving(line);
  keepHeight(detail);
  return [el('p', { class: 'sr-only' }, `Answer: ${record.text}`), line, detail];
}
