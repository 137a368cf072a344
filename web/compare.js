// The same question about the image on the stage at several resolutions: each size asked twice about a copy that no cache knows, one
// request after the other, so that none slows another.
import * as api from './api.js';
import { announce, byId, el, setOff } from './dom.js';
import { count, cssPercent, milliseconds } from './format.js';
import { sizesOf } from './image/preparation.js';
import { dataUrl } from './image/reading.js';
import { unseenCopy } from './image/unseen.js';

const ROUNDS = 2;
const MOST_TRIES = 5;

const pause = (seconds, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });

// Calls `call` until it is not refused for now; `tell` hears why and for how long.
async function patiently(call, tell, signal) {
  for (let tries = 1; ; ++tries) {
    try {
      return await call();
    } catch (error) {
      if (!(error.retryAfter >= 0) || tries >= MOST_TRIES || signal.aborted) throw error;
      tell(`${error.message}; asks again in ${Math.ceil(error.retryAfter)} s`);
      await pause(error.retryAfter, signal);
    }
  }
}

// "12.1 ms", "12.4 ms" -> "12.1 \u00b7 12.4 ms"
function joined(times) {
  const units = new Set(times.map((time) => time.split(' ')[1]));
  if (units.size > 1) return times.join(' \u00b7 ');
  return `${times.map((time) => time.split(' ')[0]).join(' \u00b7 ')} ${[...units][0]}`;
}

class Card {
  constructor(size, own) {
    this.size = size;
    this.face = el('div', { class: 'compare-image' });
    this.head = el(
      'h3',
      {},
      `${size} px`,
      size === own ? el('span', { class: 'muted' }, ' the model\u2019s own') : null,
    );
    this.answer = el('p', { class: 'compare-answer' }, '\u2026');
    this.facts = el('dl', { class: 'compare-facts' });
    this.node = el('li', { class: 'compare-card', 'aria-busy': 'true' }, this.face, this.head, this.answer, this.facts);
  }
  say(text) {
    this.answer.textContent = text;
  }
  show({ text, seen }, url) {
    const src = seen?.prepared_image ? `data:image/png;base64,${seen.prepared_image}` : url;
    this.face.replaceChildren(el('img', { src, alt: `The image at ${this.size} px`, class: 'pixels' }));
    this.say(text || '(nothing)');
    this.node.removeAttribute('aria-busy');
  }
  fail(message) {
    this.node.removeAttribute('aria-busy');
    this.answer.replaceChildren(el('span', { class: 'failed' }, message));
  }
  // Both measurements of each, and bars on the scale of `slowest` seconds.
  measure({ runs, seen, known }, slowest) {
    const both = (name) => joined(runs.map((timings) => milliseconds(timings[name])));
    const least = (name) => Math.min(...runs.map((timings) => timings[name]));
    const fact = (name, value) => [el('dt', {}, name), el('dd', {}, value)];
    const tokens = seen ? fact('visual tokens', count(seen.visual_tokens)) : [];
    const vit = fact('vision transformer', known ? 'from a cache' : both('vit'));
    this.facts.replaceChildren(...tokens, ...vit, ...fact('total', both('total')));
    const bar = (kind, seconds) => el('span', { class: kind, vars: { size: cssPercent(seconds / slowest) } });
    const bars = [bar('compare-bar', least('total')), bar('compare-bar bar-vision', least('vit'))];
    this.node.append(el('div', { class: 'compare-track', 'aria-hidden': 'true' }, bars));
  }
  judge(same) {
    this.head.append(
      el('span', { class: `verdict verdict-${same ? 'same' : 'other'}` }, same ? 'same answer' : 'another answer'),
    );
  }
}

// panel: createImagePanel's. request(image, imageOptions): the body of the question in the composer.
export function createCompare({ panel, request }) {
  let model = null,
    running = null;
  const image = () => panel.images.selected;
  const chosen = () => [...byId('compare-sizes').querySelectorAll('input:checked')].map((input) => Number(input.value));

  function ready() {
    byId('compare-run').disabled = !image() || !model || chosen().length === 0;
    setOff(byId('compare-run'), running !== null);
    const rest = 'asks the question above, or for the caption, twice a size and past all caches';
    byId('compare-hint').textContent = !image()
      ? 'needs an image'
      : running
        ? 'asking, one size after the other \u2026'
        : rest;
  }

  function chip(size) {
    const own = size === model.image_size;
    const box = el('input', { type: 'checkbox', value: size, checked: size >= model.image_size * 0.7 });
    return el('label', { class: 'chip' }, box, el('span', {}, `${size} px${own ? ', own' : ''}`));
  }

  function setModel(described) {
    if (model?.fingerprint === described.fingerprint && model.image_size === described.image_size) return;
    model = described;
    const legend = el('legend', { class: 'sr-only' }, 'Sizes to compare');
    byId('compare-sizes').replaceChildren(legend, ...sizesOf(model).map(chip));
    ready();
  }

  // One run at one size. The image of an address cannot be copied: it may come from a cache.
  async function ask(asked, options, card, signal) {
    const copy = await unseenCopy(asked.blob);
    const body = request(copy ? { url: await dataUrl(copy) } : asked, options);
    return patiently(
      () => api.chat(body, signal),
      (words) => card.say(words),
      signal,
    );
  }

  async function measure(asked, card, result, signal) {
    const options = { ...panel.options(), image_size: card.size };
    const reply = await ask(asked, options, card, signal);
    const { timings } = reply.diptych;
    result.runs.push(timings);
    result.known ||= timings.cache_hits?.vision_tokens > 0 || timings.cache_hits?.projected_tokens > 0;
    result.text = reply.choices[0].message.content;
    result.seen ??= await api
      .analyze({ image: asked.url, image_options: options, prepared_image: true }, signal)
      .catch(() => null);
    card.show(result, asked.url);
  }

  // Once all are there: bars on one scale, and whether the answers agree.
  function judge(cards, results) {
    const own = Math.max(
      0,
      cards.findIndex(({ size }) => size === model.image_size),
    );
    const slowest = Math.max(...results.flatMap(({ runs }) => runs.map(({ total }) => total)), 1e-9);
    const same = results.map(({ text }) => text === results[own].text);
    cards.forEach((card, i) => {
      card.measure(results[i], slowest);
      if (i !== own) card.judge(same[i]);
    });
    announce(
      `Compared ${cards.length} sizes; ${same.filter(Boolean).length} of them give the answer \u201c${results[own].text}\u201d`,
    );
  }

  async function rounds(cards, signal) {
    const asked = image(),
      results = cards.map(() => ({ runs: [], text: '', seen: null, known: false }));
    let at = 0;
    try {
      for (let i = 0; i < ROUNDS * cards.length; ++i) {
        at = i % cards.length;
        await measure(asked, cards[at], results[at], signal);
      }
      judge(cards, results);
    } catch (error) {
      if (signal.aborted) return;
      cards[at].fail(error.message);
      cards.filter((_, i) => results[i].runs.length === 0 && i !== at).forEach(({ node }) => node.remove());
      announce(`Error: ${error.message}`);
    }
  }

  async function run() {
    if (running !== null) return;
    const cards = chosen().map((size) => new Card(size, model.image_size)),
      own = new AbortController();
    running = own;
    byId('compare-results').replaceChildren(...cards.map(({ node }) => node));
    ready();
    announce(`Asking at ${cards.length} sizes`);
    await rounds(cards, own.signal);
    if (running === own) running = null;
    ready();
  }

  byId('compare-run').addEventListener('click', run);
  byId('compare-sizes').addEventListener('change', ready);
  panel.images.addEventListener('select', reset);

  // Another image.
  let shown = null;
  function reset() {
    if (shown === image()) return;
    shown = image();
    running?.abort();
    running = null;
    byId('compare-results').replaceChildren();
    ready();
  }
  return { setModel };
}
