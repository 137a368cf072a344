// The canvas: an image as it is sent or as the model sees it, with its patches and a map over it.
import { byId, el } from '../dom.js';
import { percent } from '../format.js';
import { describe, paintOverlay, rampCss } from './heat.js';

const GRID_LINES = [
  ['rgb(0 0 0 / 0.35)', 0],
  ['rgb(255 255 255 / 0.35)', 1],
];

function drawFitted(context, { bitmap, width, height }, size) {
  const scale = Math.min(size / width, size / height);
  const [w, h] = [width * scale, height * scale];
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, (size - w) / 2, (size - h) / 2, w, h);
}

function drawPixels(context, bitmap, size) {
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, 0, 0, size, size);
}

function drawGrid(context, { patch_rows: rows, patch_columns: columns }, size) {
  for (const [color, offset] of GRID_LINES) {
    context.fillStyle = color;
    for (let i = 1; i < columns; ++i) context.fillRect(Math.round((i * size) / columns) + offset, 0, 1, size);
    for (let i = 1; i < rows; ++i) context.fillRect(0, Math.round((i * size) / rows) + offset, size, 1);
  }
}

// The image in small under a map, where the stage itself is out of sight.
export function paintSmall(canvas, image, map) {
  const context = canvas.getContext('2d');
  const bitmap = image?.analysis?.bitmap ?? image?.bitmap;
  if (bitmap) context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  paintOverlay(context, map.grid, canvas.width);
}

// image(): the one to draw, or null. map(): {label, grid} to lay over it, or null.
export function createStage({ image, map }) {
  const canvas = byId('canvas'),
    stage = byId('stage');
  const asSeen = () => document.querySelector('input[name=view]:checked').value === 'seen';

  function draw() {
    const size = Math.round(stage.clientWidth * (window.devicePixelRatio || 1));
    const shown = image(),
      laid = shown && map();
    canvas.width = canvas.height = shown ? size : 1;
    legend(laid);
    if (!shown?.bitmap || size === 0) return label(shown, null, false);
    const context = canvas.getContext('2d');
    const prepared = Boolean(shown.analysis?.bitmap && (asSeen() || laid));
    if (prepared) drawPixels(context, shown.analysis.bitmap, size);
    else drawFitted(context, shown, size);
    if (laid) paintOverlay(context, laid.grid, size);
    if (byId('grid').checked && prepared) drawGrid(context, shown.analysis, size);
    return label(shown, laid, prepared);
  }

  function label(shown, laid, prepared) {
    const what = shown ? `${shown.name} as ${prepared ? 'the model sees it' : 'sent'}` : 'No image yet';
    canvas.setAttribute(
      'aria-label',
      laid ? `${what}, with the heat map of ${laid.label}: ${describe(laid.grid)}` : what,
    );
  }

  function legend(laid) {
    byId('legend').classList.toggle('legend-empty', !laid);
    if (!laid) return;
    const ramp = el('span', { class: 'legend-ramp', 'aria-hidden': 'true' });
    ramp.style.backgroundImage = rampCss();
    const name = el('span', { class: 'legend-name' }, laid.label);
    byId('legend').replaceChildren(name, el('span', {}, '0'), ramp, el('span', {}, percent(laid.grid.max, 1)));
  }

  function readout(event) {
    const laid = map(),
      analysis = image()?.analysis,
      out = byId('stage-readout');
    const rows = laid?.grid.rows ?? analysis?.patch_rows ?? 0,
      columns = laid?.grid.columns ?? analysis?.patch_columns ?? 0;
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const inside = row >= 0 && row < rows && column >= 0 && column < columns && (laid || asSeen());
    out.hidden = !inside;
    if (!inside) return;
    out.textContent = `row ${row + 1}, column ${column + 1}${laid ? `: ${percent(laid.grid.values[row * columns + column], 2)}` : ''}`;
  }

  byId('view').addEventListener('change', draw);
  byId('grid').addEventListener('change', draw);
  canvas.addEventListener('pointermove', readout);
  canvas.addEventListener('pointerleave', () => {
    byId('stage-readout').hidden = true;
  });
  new ResizeObserver(draw).observe(stage);
  return { draw };
}
