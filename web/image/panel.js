// The image panel: joins the list of images, where they come from, what the server makes of them, and what is drawn.
import { byId } from '../dom.js';
import { createAnalyst } from './analysis.js';
import { Images } from './collection.js';
import { showFacts } from './facts.js';
import { createMaps } from './maps.js';
import { createPreparation } from './preparation.js';
import { createSources } from './sources.js';
import { createStage, paintSmall } from './stage.js';
import { createThumbnails } from './thumbnails.js';

const NO_LIMITS = { bytes: Infinity, pixels: Infinity, side: 8192 };

// onChange: called when the images or their preparation are others.
export function createImagePanel({ onChange }) {
  const images = new Images();
  let limits = NO_LIMITS,
    model = null,
    token = null;

  const tell = (notice) => byId('image-notice').replaceChildren(...(notice ? [notice] : []));
  const maps = createMaps({ onChange: () => stage.draw() });
  const stage = createStage({ image: () => images.selected, map: () => maps.passing() ?? token ?? maps.current() });
  const preparation = createPreparation({ onChange: prepared });
  const analyst = createAnalyst({ images, options: preparation.options, tell, tellState, onDone: analysed });
  createSources({ images, limits: () => limits, tell });
  createThumbnails({ images });

  // The state of an analysis: shown until the next one. What an act had to say (an image was shrunk, or refused) outlives it.
  let state = null;
  function tellState(notice) {
    state?.remove();
    state = notice;
    if (notice) tell(notice);
  }

  function prepared() {
    onChange();
    images.all.forEach(analyst.refresh);
    showBusy();
  }

  function show() {
    const image = images.selected;
    byId('stage-empty').hidden = image !== null;
    byId('image-tools').hidden = image === null;
    byId('view').disabled = byId('grid').disabled = !image?.analysis?.bitmap;
    maps.show(image?.analysis);
    showFacts(image, model);
    showBusy();
    stage.draw();
  }

  const showBusy = () =>
    byId('stage').classList.toggle('busy', images.selected !== null && analyst.isBusy(images.selected));

  function analysed(image) {
    if (image === images.selected || images.all.length === 0) show();
    onChange();
  }

  images.addEventListener('change', () => {
    token = null;
    analyst.drop();
    images.all.forEach(analyst.refresh);
    onChange();
  });
  images.addEventListener('select', show);
  byId('remove').addEventListener('click', () => {
    tell(null);
    images.remove(images.selected);
    if (images.all.length === 0) byId('choose').focus();
  });

  show();

  return {
    images,
    options: preparation.options,
    settled: analyst.settled,
    retry: analyst.retry,
    // The images of an earlier question.
    put(all) {
      if (all.length === images.all.length && all.every(images.has)) return;
      byId('several').checked = all.length > 1;
      tell(null);
      images.add(all, { keep: false });
    },
    // {label, grid, image} of an answer's token, or null.
    showToken(map) {
      token = map;
      if (map?.image && images.has(map.image)) images.select(map.image);
      stage.draw();
    },
    paintSmall,
    setModel(described, bounds = {}) {
      const other = model?.fingerprint !== described.fingerprint || model?.image_size !== described.image_size;
      const number = (value) => Number(value) || Infinity;
      limits = { bytes: number(bounds.max_image_bytes), pixels: number(bounds.max_image_pixels), side: NO_LIMITS.side };
      images.most = bounds.max_images || 1;
      byId('several-label').hidden = images.most < 2;
      model = described;
      if (!other) return;
      preparation.setModel(model);
      images.all.forEach(analyst.analyze);
      show();
    },
  };
}
