// The images of the question in a row under the stage, when there are several.
import { byId, el, roving } from '../dom.js';

// images: Images.
export function createThumbnails({ images }) {
  const box = byId('thumbnails');

  function thumbnail(image, i) {
    const name = `Image ${i + 1}: ${image.name}`;
    const attributes = {
      type: 'button',
      class: 'thumbnail',
      'data-item': '',
      tabindex: '-1',
      'aria-label': name,
      title: image.name,
    };
    const pressed = String(image === images.selected);
    const face = image.blob
      ? el('img', { src: image.url, alt: '', width: 44, height: 44 })
      : el('span', { class: 'by-address' }, 'https');
    return el(
      'button',
      { ...attributes, 'aria-pressed': pressed, onclick: () => images.select(image) },
      face,
      el('span', { class: 'ordinal' }, i + 1),
    );
  }

  function show() {
    const focused = [...box.children].indexOf(document.activeElement);
    box.hidden = images.all.length < 2;
    box.replaceChildren(...(box.hidden ? [] : images.all.map(thumbnail)));
    roving(box);
    box.children[focused]?.focus();
  }

  images.addEventListener('select', show);
}
