// One answer in every state: none yet, waiting, streaming, refused for now, failed, whole.
import { budgetBar, waterfall } from './charts.js';
import { announce, byId, copy, count, el, milliseconds, notice, percent, plural, roving } from './dom.js';
import { gridOf } from './heat.js';
import { curlOf } from './api.js';

const ANNOUNCE_EVERY = 1500;  // milliseconds between two pieces of a stream that are read out

const FINISH = { stop: 'ended by itself', length: 'cut at its length' };

// Tokens whose bytes make whole characters: [{text, from, to, logprob, top}], from and to are positions in `entries`.
export function wholeTokens(entries) {
  const decoder = new TextDecoder();
  const tokens = [];
  let from = 0;
  entries.forEach((entry, i) => {
    const text = decoder.decode(new Uint8Array(entry.bytes ?? []), { stream: true });
    if (text === '' && (entry.bytes ?? []).length > 0 && i + 1 < entries.length) return;  // the rest of the character follows
    tokens.push({ text, from, to: i, logprob: entry.logprob, top: entry.top_logprobs ?? [] });
    from = i + 1;
  });
  return tokens;
}

// What a record exports: the request without the image's bytes, and the reply.
export function exported(record) {
  const request = JSON.parse(JSON.stringify(record.body, (name, value) =>
    name === 'url' && typeof value === 'string' && value.startsWith('data:') ? `file:${record.imageName}` : value));
  const { at, question, text, finish, usage, requestId, model } = record;
  const { timings, context_budget, relevance } = record.diptych ?? {};
  return { at, request_id: requestId, model, image: record.imageName ?? null, question, answer: text, finish_reason: finish, usage,
           timings, context_budget, ...(relevance ? { relevance } : {}), request };
}

// onToken(map or null): a token of the answer is looked at. paintToken(canvas, map) draws its map.
export function createAnswer({ onToken, paintToken }) {
  const box = byId('answer');
  let ticking = 0, saidUntil = 0, saidAt = 0;

  const asked = (record) => [
    record.earlier.length > 0 ? el('ol', { class: 'thread', 'aria-label': 'Earlier turns' }, record.earlier.map(({ role, text }) =>
      el('li', { class: `turn turn-${role}` }, el('span', { class: 'sr-only' }, role === 'user' ? 'You: ' : 'Model: '), text || 'caption'))) : null,
    el('p', { class: 'asked' }, el('span', { class: 'sr-only' }, 'Question: '), record.question || el('em', {}, 'caption')),
  ];

  function clearTimers() {
    clearInterval(ticking);
    onToken(null);
  }

  function showEmpty() {
    clearTimers();
    box.replaceChildren(el('div', { class: 'empty' }, el('p', {}, el('strong', {}, 'No answer yet')),
      el('p', { class: 'muted' }, 'Each answer comes with the time of its twelve stages and with what it took of the context window.')));
  }

  function showWaiting(record) {
    clearTimers();
    const elapsed = el('span', { class: 'elapsed' }, '0.0 s'), said = el('p', { class: 'said streaming' });
    const began = performance.now();
    ticking = setInterval(() => { elapsed.textContent = `${((performance.now() - began) / 1000).toFixed(1)} s`; }, 100);
    box.replaceChildren(el('article', { class: 'card', 'aria-busy': 'true' }, asked(record), said,
      el('p', { class: 'muted waiting' }, el('span', { class: 'pulse', 'aria-hidden': 'true' }), 'waiting for the first token ', elapsed)));
    saidUntil = 0;
    saidAt = performance.now();
    announce('Asked');
    return said;
  }

  // `record.text` has grown.
  function showPiece(record) {
    const said = box.querySelector('.said');
    if (!said) return;
    said.textContent = record.text;
    box.querySelector('.waiting')?.replaceChildren(el('span', { class: 'pulse', 'aria-hidden': 'true' }), `streaming, ${plural(record.entries.length, 'token')}`);
    if (performance.now() - saidAt < ANNOUNCE_EVERY) return;
    announce(record.text.slice(saidUntil));
    saidUntil = record.text.length;
    saidAt = performance.now();
  }

  function tokenLine(record) {
    const relevance = record.diptych.relevance;
    const detail = el('p', { class: 'token-detail muted' }, relevance ? 'Point at a word, or go through them with the arrow keys, to see where it looked: a hint, not an explanation.'
                                                                   : 'Point at a word, or go through them with the arrow keys, for its probability.');
    const hint = detail.textContent;
    let pinned = null;
    const look = (token, map) => {
      onToken(map);
      detail.replaceChildren(...(token ? tokenWords(token, map).filter(Boolean) : [hint]));
    };
    const spans = wholeTokens(record.entries).map((token, i) => {
      const map = relevance ? tokenMap(relevance, token) : null;
      const ends = token.text === '' || token.text === '</s>';
      const words = ends ? 'end' : i === 0 ? token.text.trimStart() : token.text;
      const name = `${ends ? 'end of the answer' : token.text.trim() || 'space'}: probability ${percent(Math.exp(token.logprob), 1)}`
        + (map ? `, ${percent(map.share)} of its attention on the image` : '');
      const span = el('span', { class: ends ? 'token token-end' : 'token', role: 'button', tabindex: '-1', 'data-item': '', 'aria-label': name, 'aria-pressed': 'false',
        vars: { share: map ? map.share.toFixed(3) : '0' },
        onpointerenter: () => look(token, map), onpointerleave: () => look(pinned?.token ?? null, pinned?.map ?? null),
        onfocus: () => look(token, map), onblur: () => look(pinned?.token ?? null, pinned?.map ?? null),
        onclick: () => pin(span, token, map),
        onkeydown: (event) => {
          if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); pin(span, token, map); }
          if (event.key === 'Escape') pin(null);
        } }, words);
      return span;
    });
    const line = el('div', { class: 'said', role: 'toolbar', 'aria-label': 'The answer, token by token' }, spans);
    function pin(span, token, map) {
      pinned = !span || pinned?.span === span ? null : { span, token, map };
      for (const other of spans) other.setAttribute('aria-pressed', String(pinned?.span === other));
      look(pinned ? token : null, pinned ? map : null);
    }
    roving(line);
    return [el('p', { class: 'sr-only' }, `Answer: ${record.text}`), line, detail];
  }

  function tokenMap(relevance, token) {
    const first = relevance[token.from], image = first?.images?.[0];
    if (!image) return null;
    return { label: `the token \u201c${token.text.trim() || 'end'}\u201d`, grid: gridOf(image), share: first.image_share ?? 0 };
  }

  function tokenWords(token, map) {
    const others = token.top.filter((other) => other.token !== token.text).slice(0, 3);
    const small = map ? el('canvas', { class: 'token-tile', width: 192, height: 192, 'aria-hidden': 'true' }) : null;
    if (small) paintToken(small, map);
    return [small, el('code', {}, token.text === '' ? 'end' : token.text.replace(/^ /, '\u2423')), ` p ${percent(Math.exp(token.logprob), 1)}`,
      others.length > 0 ? ` \u00b7 else ${others.map((other) => `${other.token.replace(/^ /, '\u2423') || 'end'} ${percent(Math.exp(other.logprob), 1)}`).join(', ')}` : '',
      map ? ` \u00b7 ${percent(map.share)} of its attention on the image` : ''];
  }

  function figures(record) {
    const { timings } = record.diptych, { usage } = record;
    const hits = timings.cache_hits ?? {};
    const cached = [hits.vision_tokens > 0 && 'visual tokens', hits.projected_tokens > 0 && 'query tokens', hits.kv_prefix > 0 && plural(hits.kv_prefix, 'KV token')].filter(Boolean);
    const figure = (name, value, extra, wide) => el('div', { class: wide ? 'figure figure-wide' : 'figure' }, el('dt', {}, name), el('dd', {}, value, extra ? el('span', { class: 'muted' }, extra) : null));
    return el('dl', { class: 'figures' },
      figure('Total', milliseconds(timings.total)), figure('First token', milliseconds(timings.time_to_first_token)),
      figure('Then', timings.decode_tokens_per_second > 0 ? count(Math.round(timings.decode_tokens_per_second)) : '\u2013', timings.decode_tokens_per_second > 0 ? ' tokens/s' : ''),
      usage ? figure('Tokens', `${count(usage.prompt_tokens)} \u2192 ${count(usage.completion_tokens)}`) : null,
      figure('From caches', cached.length > 0 ? cached.join(', ') : 'nothing', null, true),
      figure('End', FINISH[record.finish] ?? record.finish ?? '\u2013', null, true));
  }

  function actions(record) {
    const out = el('div', { class: 'code', hidden: true });
    const toggle = (name, text) => el('button', { type: 'button', class: 'quiet', 'aria-expanded': 'false', onclick: (event) => {
      const open = event.currentTarget.getAttribute('aria-expanded') === 'true';
      for (const button of event.currentTarget.parentNode.children) button.setAttribute('aria-expanded', 'false');
      out.hidden = open;
      if (open) return;
      event.currentTarget.setAttribute('aria-expanded', 'true');
      const code = text();
      out.replaceChildren(el('pre', { tabindex: '0', 'aria-label': name }, code),
        el('button', { type: 'button', class: 'quiet copy', onclick: (click) => copy(code, click.currentTarget) }, 'Copy'));
    } }, name);
    return [el('div', { class: 'card-actions' },
      toggle('As curl', () => curlOf(record.body, record.imageName)),
      toggle('As JSON', () => JSON.stringify(exported(record), null, 2))), out];
  }

  function showWhole(record, { silent = false } = {}) {
    clearTimers();
    const { timings, context_budget: budget } = record.diptych ?? {};
    const card = el('article', { class: 'card' }, asked(record));
    if (record.entries.length > 0 && record.diptych) card.append(...tokenLine(record));
    else card.append(el('p', { class: 'said' }, record.text || '(nothing)'));
    if (record.stopped) card.append(notice('info', 'Stopped.', 'The server stopped its work too.'));
    if (timings) card.append(figures(record), waterfall(timings));
    if (budget) card.append(el('h3', { class: 'block-title' }, 'Context window'), budgetBar(budget));
    card.append(...actions(record));
    box.replaceChildren(card);
    if (!silent) announce(record.stopped ? 'Stopped' : `${record.text.slice(saidUntil) || 'Nothing'}. Answered in ${milliseconds(timings?.total ?? 0)}`);
  }

  function showError(record, error) {
    clearTimers();
    const code = error.code ? el('p', { class: 'muted' }, 'Code ', el('code', {}, error.code), error.param ? [', parameter ', el('code', {}, error.param)] : null) : null;
    box.replaceChildren(el('article', { class: 'card' }, asked(record), record.text ? el('p', { class: 'said' }, record.text) : null,
      notice('error', error.status === 0 ? 'No answer:' : `Refused (${error.status}):`, error.message, code)));
    announce(`Error: ${error.message}`);
  }

  // Resolves to true when it is time to ask again, to false if the person gives up. After `automatic` tries it waits for a click.
  function showRefused(record, error, { automatic, signal }) {
    clearTimers();
    return new Promise((resolve) => {
      const end = (again) => { clearInterval(ticking); signal.removeEventListener('abort', give); resolve(again); };
      const give = () => end(false);
      const due = performance.now() + Math.max(error.retryAfter, 0.5) * 1000;
      const left = () => Math.max(0, Math.ceil((due - performance.now()) / 1000));
      const words = el('strong', { class: 'countdown', role: 'timer' }, `${left()} s`);
      const now = el('button', { type: 'button', onclick: () => end(true) }, 'Ask now');
      box.replaceChildren(el('article', { class: 'card' }, asked(record),
        el('div', { class: 'notice notice-warning refused' },
          el('p', {}, el('strong', {}, error.status === 0 ? 'Not reached:' : error.status === 429 ? 'The server is full:' : 'Not available now:'), ` ${error.message}`),
          automatic ? el('p', {}, 'Asks again in ', words) : el('p', {}, 'Asked several times. The question is kept.'),
          el('p', { class: 'card-actions' }, now, el('button', { type: 'button', class: 'quiet', onclick: give }, 'Give up')))));
      announce(`${error.message}. ${automatic ? `Asks again in ${left()} seconds` : 'Asked several times'}`);
      signal.addEventListener('abort', give);
      if (!automatic) return;
      ticking = setInterval(() => {
        words.textContent = `${left()} s`;
        if (performance.now() >= due) end(true);
      }, 200);
    });
  }

  showEmpty();
  return { showEmpty, showWaiting, showPiece, showWhole, showError, showRefused };
}
