// The left panel: the image, the pixels that the model gets, and where it looks.
import * as api from './api.js';
import { announce, byId, byteSize, count, debounced, el, notice, percent, roving } from './dom.js';
import { describe, gridOf, paintOverlay, paintTile, rampCss } from './heat.js';
import { samples } from './samples.js';

const TYPES = { png: 'PNG', jpeg: 'JPEG', webp: 'WebP' };

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

export async function loadImage(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

// onChange: called when the image or its preparation is another.
export function createImage({ onChange }) {
  const canvas = byId('canvas'), stage = byId('stage');
  let limits = {}, model = null;
  let image = null;    // {name, blob, url, bitmap, width, height}
  let analysis = null;   // AnalyzeImageResponse with .bitmap
  let pending = null;    // AbortController of the analysis that is awaited
  let kept = null, passing = null, token = null;  // maps {label, grid}: chosen, under the pointer, of an answer's token

  // ---- what is drawn

  const shown = () => passing ?? token ?? kept;
  const seen = () => byId('image').querySelector('input[name=view]:checked').value === 'seen';

  function draw() {
    const box = stage.clientWidth;
    if (!image || box === 0) return;
    const size = Math.round(box * (window.devicePixelRatio || 1));
    const map = shown();
    canvas.width = canvas.height = size;
    const context = canvas.getContext('2d');
    const prepared = analysis?.bitmap && (seen() || map);
    if (prepared) {
      context.imageSmoothingEnabled = false;
      context.drawImage(analysis.bitmap, 0, 0, size, size);
    } else {
      const scale = Math.min(size / image.width, size / image.height);
      const width = image.width * scale, height = image.height * scale;
      context.imageSmoothingQuality = 'high';
      context.drawImage(image.bitmap, (size - width) / 2, (size - height) / 2, width, height);
    }
    if (map) paintOverlay(context, map.grid, size);
    if (byId('grid').checked && prepared) drawGrid(context, size);
    label(map, prepared);
  }

  function drawGrid(context, size) {
    const rows = analysis.patch_rows, columns = analysis.patch_columns;
    for (const [color, offset] of [['rgb(0 0 0 / 0.35)', 0], ['rgb(255 255 255 / 0.35)', 1]]) {
      context.fillStyle = color;
      for (let i = 1; i < columns; ++i) context.fillRect(Math.round((i * size) / columns) + offset, 0, 1, size);
      for (let i = 1; i < rows; ++i) context.fillRect(0, Math.round((i * size) / rows) + offset, size, 1);
    }
  }

  function label(map, prepared) {
    const what = prepared ? `${image.name} as the model sees it` : `${image.name} as sent`;
    canvas.setAttribute('aria-label', map ? `${what}, with the heat map of ${map.label}: ${describe(map.grid)}` : what);
    const legend = byId('legend');
    legend.hidden = !map;
    if (!map) return;
    legend.replaceChildren(el('span', { class: 'legend-name' }, map.label), el('span', {}, '0'), ramped(), el('span', {}, percent(map.grid.max, 1)));
  }

  function ramped() {
    const bar = el('span', { class: 'legend-ramp', 'aria-hidden': 'true' });
    bar.style.backgroundImage = rampCss();
    return bar;
  }

  function readout(event) {
    const map = shown(), out = byId('stage-readout');
    const rows = map?.grid.rows ?? analysis?.patch_rows, columns = map?.grid.columns ?? analysis?.patch_columns;
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns), row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const inside = rows > 0 && image && row >= 0 && row < rows && column >= 0 && column < columns && (map || seen());
    out.hidden = !inside;
    if (!inside) return;
    const share = map ? `: ${percent(map.grid.values[row * columns + column], 2)}` : '';
    out.textContent = `row ${row + 1}, column ${column + 1}${share}`;
  }

  // ---- maps

  function showMaps() {
    byId('view').disabled = byId('grid').disabled = !analysis?.bitmap;
    const box = byId('maps');
    const maps = [];
    if (analysis?.cls_attention) maps.push(['CLS', 'CLS, the class token in the last vision layer', analysis.cls_attention]);
    if (analysis?.mean_query_attention) maps.push(['Mean', 'Mean of all Q-Former queries', analysis.mean_query_attention]);
    (analysis?.query_attention ?? []).forEach((map, i) => maps.push([`${i + 1}`, `Q-Former query ${i + 1}`, map]));
    byId('maps-block').hidden = maps.length === 0;
    box.replaceChildren(...maps.map(([short, long, map]) => mapButton(short, { label: long, grid: gridOf(map) })));
    roving(box);
  }

  function mapButton(short, map) {
    const tile = el('canvas', { class: 'tile', 'aria-hidden': 'true' });
    paintTile(tile, map.grid);
    const pass = (value) => () => { passing = value; draw(); };
    return el('button', { type: 'button', class: 'map', 'data-item': '', tabindex: '-1', 'aria-pressed': String(kept?.label === map.label),
      'aria-label': `${map.label}: ${describe(map.grid)}`, onpointerenter: pass(map), onpointerleave: pass(null),
      onfocus: pass(map), onblur: pass(null),
      onclick: (event) => { keep(kept?.label === map.label ? null : map, event.currentTarget); } },
      tile, el('span', { class: 'map-name' }, short));
  }

  function keep(map, button) {
    kept = map;
    if (!map) passing = null;
    for (const other of byId('maps').children) other.setAttribute('aria-pressed', String(map !== null && other === button));
    draw();
  }

  // ---- facts

  function showPath() {
    const steps = [];
    if (image) {
      const type = TYPES[image.blob.type.split('/')[1]] ?? 'file';
      steps.push(['sent', `${image.width} × ${image.height}`, `${type}, ${byteSize(image.blob.size)}`]);
    }
    if (analysis) {
      steps.push(['seen', `${analysis.pixel_shape[3]} × ${analysis.pixel_shape[2]}`, 'pixels'],
        ['patches', `${analysis.patch_rows} × ${analysis.patch_columns}`, model ? `patches of ${model.patch_size} px` : 'patches'],
        ['vision', `${count(analysis.visual_tokens)} × ${count(analysis.visual_width)}`, 'visual tokens']);
      if (model) steps.push(['qformer', count(model.query_tokens), 'query tokens']);
    } else if (image && model) {
      steps.push(['qformer', count(model.query_tokens), 'query tokens']);
    }
    byId('path').replaceChildren(...steps.map(([kind, value, what]) =>
      el('li', { class: `step step-${kind}` }, el('strong', {}, value), el('span', {}, what))));
    byId('path').title = analysis ? `mean norm of the visual tokens: ${analysis.mean_norm.toFixed(3)}` : '';
  }

  // ---- analysis

  function imageOptions() {
    const options = {};
    const size = Number(byId('image-size').value), side = Number(byId('max-side').value), merging = Number(byId('token-merging').value);
    if (size > 0) options.image_size = size;
    if (side > 0) options.max_side = side;
    if (merging > 0) options.token_merging = merging;
    return options;
  }

  async function analyze() {
    pending?.abort();
    if (!image) return;
    const own = pending = new AbortController();
    const options = imageOptions(), merged = options.token_merging > 0;
    stage.classList.add('busy');
    byId('image-notice').replaceChildren();
    try {
      const reply = await api.analyze({ image: image.url, image_options: options, cls_attention: !merged, qformer_attention: !merged,
                                        prepared_image: true }, own.signal);
      const bitmap = reply.prepared_image ? await loadImage(`data:image/png;base64,${reply.prepared_image}`) : null;
      if (own.signal.aborted) return;
      analysis = { ...reply, bitmap };
      if (merged) byId('image-notice').append(notice('info', 'No maps with token merging:', 'a merged token has no one place in the image.'));
    } catch (error) {
      if (own.signal.aborted) return;
      analysis = null;
      byId('image-notice').append(analysisNotice(error));
    } finally {
      if (pending === own) stage.classList.remove('busy');
    }
    afterAnalysis();
  }

  function analysisNotice(error) {
    if (error.status === 404 || error.status === 501) {
      return notice('info', 'This server does not analyse images.', 'Questions are answered all the same.');
    }
    if (error.status === 429 || error.status === 503 || error.status === 0) {
      return notice('warning', 'Not analysed:', error.message, el('button', { type: 'button', onclick: analyze }, 'Try again'));
    }
    return notice('error', 'This image is refused:', error.message);
  }

  function afterAnalysis() {
    const again = kept?.label;
    kept = passing = token = null;
    showMaps();
    if (again) {
      const button = [...byId('maps').children].find((other) => other.getAttribute('aria-label').startsWith(`${again}:`));
      if (button) button.click();
    }
    showPath();
    draw();
  }

  // ---- sources

  async function take(blob, name, sample = null) {
    let bitmap;
    const address = URL.createObjectURL(blob);
    try {
      bitmap = await loadImage(address);
    } catch {
      URL.revokeObjectURL(address);
      byId('image-notice').replaceChildren(notice('error', `${name} is not an image that can be shown.`, 'Take a PNG, JPEG or WebP file.'));
      announce('This file is not an image that can be shown');
      return;
    }
    const most = Number(limits.max_image_bytes ?? Infinity);
    if (blob.size > most) {
      byId('image-notice').replaceChildren(notice('error', `${name} is too large:`, `${byteSize(blob.size)}; this server takes ${byteSize(most)} at most. Save it smaller or as JPEG.`));
      return;
    }
    put({ name, blob, url: await dataUrl(blob), bitmap, width: bitmap.naturalWidth, height: bitmap.naturalHeight, sample });
  }

  function put(next) {
    image = next;
    analysis = kept = passing = token = null;
    byId('image-notice').replaceChildren();
    byId('stage-empty').hidden = image !== null;
    byId('image-tools').hidden = image === null;
    for (const button of byId('samples').children) button.setAttribute('aria-pressed', String(image?.sample === button.dataset.file));
    if (image) {
      announce(`${image.name}, ${image.width} by ${image.height} pixels`);
    } else {
      pending?.abort();
      stage.classList.remove('busy');
      canvas.width = canvas.height = 1;
      canvas.setAttribute('aria-label', 'No image yet');
      byId('legend').hidden = true;
    }
    showMaps();
    showPath();
    draw();
    onChange();
    analyze();
  }

  async function takeSample(sample) {
    const response = await fetch(`playground/samples/${sample.file}`);
    await take(await response.blob(), sample.file, sample.file);
  }

  function takeFiles(files) {
    const file = [...files].find((one) => one.type.startsWith('image/')) ?? files[0];
    if (file) take(file, file.name || 'pasted image');
  }

  byId('samples').append(...samples.map((sample) =>
    el('button', { type: 'button', class: 'sample', 'data-file': sample.file, 'aria-pressed': 'false', 'aria-label': `Sample: ${sample.name}`, title: sample.name,
                   onclick: () => takeSample(sample) },
      el('img', { src: `playground/samples/${sample.file}`, alt: '', width: 48, height: 48 }))));
  byId('choose').addEventListener('click', () => byId('file').click());
  byId('file').addEventListener('change', (event) => { takeFiles(event.target.files); event.target.value = ''; });
  byId('remove').addEventListener('click', () => { put(null); byId('choose').focus(); });
  document.addEventListener('paste', (event) => { if (event.clipboardData.files.length > 0) { event.preventDefault(); takeFiles(event.clipboardData.files); } });
  for (const type of ['dragover', 'dragleave', 'drop']) {
    document.addEventListener(type, (event) => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault();
      document.body.classList.toggle('dropping', type === 'dragover');
      if (type === 'drop') takeFiles(event.dataTransfer.files);
    });
  }
  const prepare = debounced(300, () => { showPreparation(); onChange(); analyze(); });
  for (const id of ['image-size', 'max-side', 'token-merging']) byId(id).addEventListener('input', prepare);
  byId('view').addEventListener('change', draw);
  byId('grid').addEventListener('change', draw);
  canvas.addEventListener('pointermove', readout);
  canvas.addEventListener('pointerleave', () => { byId('stage-readout').hidden = true; });
  byId('maps').addEventListener('keydown', (event) => { if (event.key === 'Escape') keep(null); });
  new ResizeObserver(draw).observe(stage);

  function showPreparation() {
    const { image_size: size, max_side: side, token_merging: merging } = imageOptions();
    byId('preparation-summary').textContent = [size && `${size} px`, side && `at most ${side} px first`, merging && `merging ${merging}`].filter(Boolean).join(', ');
  }

  return {
    get current() { return image; },
    imageOptions,
    // {label, grid} of an answer's token, or null.
    showToken(map) { token = map; draw(); },
    // The same in small, where the panel itself is out of sight.
    paintToken(small, map) {
      const size = small.width, context = small.getContext('2d');
      const bitmap = analysis?.bitmap ?? image?.bitmap;
      if (bitmap) context.drawImage(bitmap, 0, 0, size, size);
      paintOverlay(context, map.grid, size);
    },
    put,
    takeSample,
    setModel(described, bounds) {
      limits = bounds ?? {};
      const other = model?.fingerprint !== described.fingerprint || model?.image_size !== described.image_size;
      model = described;
      if (!other) return;
      const sizes = sizesOf(model);
      byId('image-size').replaceChildren(el('option', { value: '' }, `the model\u2019s own, ${model.image_size}`),
        ...sizes.filter((size) => size !== model.image_size).map((size) => el('option', { value: size }, String(size))));
      byId('token-merging').max = '0.5';
      showPath();
      if (image) analyze();
    },
  };
}

// Sizes worth trying: multiples of the patch from three quarters to twice the model's own.
export function sizesOf(model) {
  const patch = model.patch_size, own = model.image_size;
  const sizes = [0.5, 0.75, 1, 1.25, 1.5, 2].map((factor) => Math.max(1, Math.round((own * factor) / patch)) * patch);
  return [...new Set(sizes)].filter((size) => size <= 1024).sort((a, b) => a - b);
}
