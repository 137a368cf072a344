// The same question about the same image at several resolutions, one after the other so that none slows another.
import * as api from './api.js';
import { announce, byId, count, el, milliseconds, percent } from './dom.js';
import { sizesOf } from './image.js';

const MOST_TRIES = 5;

// image: createImage's. request(imageOptions): the chat body of the question that stands in the composer.
export function createCompare({ image, request }) {
  let model = null, running = null;

  const chosen = () => [...byId('compare-sizes').querySelectorAll('input:checked')].map((input) => Number(input.value));

  function ready() {
    byId('compare-run').disabled = running !== null || !image.current || !model || chosen().length === 0;
    byId('compare-hint').textContent = !image.current ? 'needs an image' : running ? 'asking, one size after the other \u2026' : 'asks the question above; an empty one asks for the caption';
  }

  function setModel(described) {
    if (model?.fingerprint === described.fingerprint && model.image_size === described.image_size) return;
    model = described;
    byId('compare-sizes').replaceChildren(el('legend', { class: 'sr-only' }, 'Sizes to compare'), ...sizesOf(model).map((size) => {
      const own = size === model.image_size;
      return el('label', { class: 'chip' }, el('input', { type: 'checkbox', value: size, checked: size >= model.image_size * 0.7 }),
        el('span', {}, `${size} px${own ? ', own' : ''}`));
    }));
    ready();
  }

  async function patiently(call, card, signal) {
    for (let tries = 1; ; ++tries) {
      try {
        return await call();
      } catch (error) {
        if (!(error.retryAfter >= 0) || tries >= MOST_TRIES || signal.aborted) throw error;
        card.querySelector('.compare-answer').textContent = `${error.message}; asks again in ${Math.ceil(error.retryAfter)} s`;
        await new Promise((resolve) => { setTimeout(resolve, error.retryAfter * 1000); });
      }
    }
  }

  function emptyCard(size) {
    return el('li', { class: 'compare-card', 'aria-busy': 'true' },
      el('div', { class: 'compare-image' }),
      el('h3', {}, `${size} px`, size === model.image_size ? el('span', { class: 'muted' }, ' the model\u2019s own') : null),
      el('p', { class: 'compare-answer' }, '\u2026'), el('dl', { class: 'compare-facts' }));
  }

  async function one(size, card, signal) {
    const options = { ...image.imageOptions(), image_size: size };
    const reply = await patiently(() => api.chat(request(options), signal), card, signal);
    const seen = await api.analyze({ image: image.current.url, image_options: options, prepared_image: true }, signal).catch(() => null);
    return { size, text: reply.choices[0].message.content, timings: reply.diptych.timings, usage: reply.usage, seen };
  }

  function fill(card, result) {
    const src = result.seen?.prepared_image ? `data:image/png;base64,${result.seen.prepared_image}` : image.current.url;
    card.querySelector('.compare-image').replaceChildren(el('img', { src, alt: `The image at ${result.size} px`, class: 'pixels' }));
    card.querySelector('.compare-answer').textContent = result.text || '(nothing)';
    card.removeAttribute('aria-busy');
  }

  // Once all are there: bars on one scale, and whether the answers agree.
  function judge(results, cards) {
    const own = results.find(({ size }) => size === model.image_size) ?? results[0];
    const slowest = Math.max(...results.map(({ timings }) => timings.total), 1e-9);
    results.forEach((result, i) => {
      const patches = (result.size / model.patch_size) ** 2, cached = result.timings.cache_hits;
      const share = (seconds) => percent(seconds / slowest, 2).replace(' ', '');
      const known = cached?.vision_tokens > 0 || cached?.projected_tokens > 0;
      const same = result.text === own.text;
      cards[i].querySelector('.compare-facts').replaceChildren(
        el('dt', {}, 'visual tokens'), el('dd', {}, count(result.seen?.visual_tokens ?? patches + 1)),
        el('dt', {}, 'vision transformer'), el('dd', {}, known ? 'cached' : milliseconds(result.timings.vit)),
        el('dt', {}, 'total'), el('dd', {}, milliseconds(result.timings.total)));
      cards[i].append(el('div', { class: 'compare-track', 'aria-hidden': 'true' },
        el('span', { class: 'compare-bar', vars: { size: share(result.timings.total) } }),
        el('span', { class: 'compare-bar bar-vision', vars: { size: share(result.timings.vit) } })));
      if (result !== own) cards[i].querySelector('h3').append(el('span', { class: `verdict verdict-${same ? 'same' : 'other'}` }, same ? 'same answer' : 'another answer'));
    });
    const agree = results.filter((result) => result.text === own.text).length;
    announce(`Compared ${results.length} sizes; ${agree} of them give the answer \u201c${own.text}\u201d`);
  }

  async function run() {
    const sizes = chosen(), cards = sizes.map(emptyCard);
    running = new AbortController();
    byId('compare-results').replaceChildren(...cards);
    ready();
    announce(`Asking at ${sizes.length} sizes`);
    const results = [];
    try {
      for (const [i, size] of sizes.entries()) {
        results.push(await one(size, cards[i], running.signal));
        fill(cards[i], results[i]);
      }
      judge(results, cards);
    } catch (error) {
      if (!running.signal.aborted) {
        const card = cards[results.length];
        card.removeAttribute('aria-busy');
        card.querySelector('.compare-answer').replaceChildren(el('span', { class: 'failed' }, error.message));
        cards.slice(results.length + 1).forEach((other) => other.remove());
        announce(`Error: ${error.message}`);
      }
    }
    running = null;
    ready();
  }

  byId('compare-run').addEventListener('click', run);
  byId('compare-sizes').addEventListener('change', ready);
  return {
    setModel,
    // The image is another.
    reset() {
      running?.abort();
      running = null;
      byId('compare-results').replaceChildren();
      ready();
    },
  };
}
