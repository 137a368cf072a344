// How an image is prepared before the vision tier sees it: the fields, and what they ask for.
import { byId, debounced, el } from '../dom.js';

const FIELDS = [
  ['image_size', 'image-size', (v) => `${v} px`],
  ['max_side', 'max-side', (v) => `at most ${v} px first`],
  ['token_merging', 'token-merging', (v) => `merging ${v}`],
];

// Sizes worth trying: multiples of the patch from half to twice the model's own.
export function sizesOf(model) {
  const { patch_size: patch, image_size: own } = model;
  const sizes = [0.5, 0.75, 1, 1.25, 1.5, 2].map((factor) => Math.max(1, Math.round((own * factor) / patch)) * patch);
  return [...new Set(sizes)].filter((size) => size <= 1024).sort((a, b) => a - b);
}

// onChange: called when something else is asked for.
export function createPreparation({ onChange }) {
  // The image_options of a request: only what was chosen.
  function options() {
    return Object.fromEntries(
      FIELDS.map(([name, id]) => [name, Number(byId(id).value)]).filter(([, value]) => value > 0),
    );
  }

  function summarise() {
    const chosen = options();
    const words = FIELDS.filter(([name]) => name in chosen).map(([name, , say]) => say(chosen[name]));
    byId('preparation-summary').textContent = words.join(', ');
  }

  const changed = debounced(300, () => {
    summarise();
    onChange();
  });
  for (const [, id] of FIELDS) byId(id).addEventListener('input', changed);

  return {
    options,
    setModel(model) {
      const own = el('option', { value: '' }, `the model\u2019s own, ${model.image_size}`);
      const others = sizesOf(model).filter((size) => size !== model.image_size);
      byId('image-size').replaceChildren(own, ...others.map((size) => el('option', { value: size }, String(size))));
    },
  };
}
