// From pixels to tokens, in numbers.
import { byId, el } from '../dom.js';
import { byteSize, count } from '../format.js';

const TYPES = { 'image/png': 'PNG', 'image/jpeg': 'JPEG', 'image/webp': 'WebP', 'image/gif': 'GIF' };

function stepsOf(image, model) {
  const steps = [];
  const { analysis } = image;
  const file = image.blob ? `${TYPES[image.blob.type] ?? 'file'}, ${byteSize(image.blob.size)}` : 'by address';
  if (image.width > 0) steps.push(['sent', `${image.width} × ${image.height}`, file]);
  if (analysis) {
    steps.push(
      ['seen', `${analysis.pixel_shape[3]} × ${analysis.pixel_shape[2]}`, 'pixels'],
      [
        'patches',
        `${analysis.patch_rows} × ${analysis.patch_columns}`,
        model ? `patches of ${model.patch_size} px` : 'patches',
      ],
      ['vision', `${count(analysis.visual_tokens)} × ${count(analysis.visual_width)}`, 'visual tokens'],
    );
  }
  if (model) steps.push(['qformer', count(model.query_tokens), 'query tokens']);
  return steps;
}

// image: the selected one, or null. model: the ModelDescription, or null.
export function showFacts(image, model) {
  const steps = image ? stepsOf(image, model) : [];
  const item = ([kind, value, what]) =>
    el('li', { class: `step step-${kind}` }, el('strong', {}, value), el('span', {}, what));
  const none = el('li', { class: 'muted' }, 'Choose an image to see its way from file to query tokens.');
  byId('path').replaceChildren(...(steps.length > 0 ? steps.map(item) : [none]));
  byId('path').title = image?.analysis ? `mean norm of the visual tokens: ${image.analysis.mean_norm.toFixed(3)}` : '';
}
