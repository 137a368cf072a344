// What the server makes of each image: whether it takes it at all, the pixels that the model gets, and where it looks.
import * as api from '../api.js';
import { announce, el, notice } from '../dom.js';
import { loadImage } from './reading.js';

// Codes of errors that are the image's own fault, not its preparation's.
const isFault = (error) => error.refused && /^image_/.test(error.code);

function noticeOf(error, again) {
  if (error.status === 404 || error.status === 501) {
    return notice('info', 'This server does not analyse images.', 'Questions are answered all the same.');
  }
  if (error.refused) return notice('error', 'Not analysed:', error.message);
  const button = el('button', { type: 'button', onclick: again }, 'Try again');
  return notice('warning', 'Not analysed yet:', `${error.message}. It is tried again by itself.`, button);
}

function refusalOf(image, error) {
  if (error.code !== 'image_url_refused') return notice('error', `${image.name} is refused:`, error.message);
  return notice('error', 'This server does not fetch images by address:', 'save the image and drop the file here.');
}

// images: Images. options(): the image_options to prepare with. tell(notice): says what became of an
// image; tellState(notice or null): says the state of the selected one's analysis. onDone(image): called after each
// analysis, which then is image.analysis or null.
export function createAnalyst({ images, options, tell, tellState, onDone }) {
  const running = new Map(); // image -> {abort, ended}
  let queue = Promise.resolve(); // one image after the other: a page is not to fill a server

  async function ask(image, signal) {
    const image_options = options();
    const maps = !(image_options.token_merging > 0);
    const body = {
      image: image.url,
      image_options,
      cls_attention: maps,
      qformer_attention: maps,
      prepared_image: true,
    };
    const reply = await api.analyze(body, signal);
    const bitmap = reply.prepared_image ? await loadImage(`data:image/png;base64,${reply.prepared_image}`) : null;
    return { ...reply, bitmap, options: JSON.stringify(image_options) };
  }

  function take(image, analysis) {
    image.state = 'ready';
    image.analysis = analysis;
    if (image.width > 0) return;
    Object.assign(image, {
      width: analysis.image_size?.width ?? 0,
      height: analysis.image_size?.height ?? 0,
      bitmap: analysis.bitmap,
    });
  }

  function fail(image, error) {
    image.analysis = null;
    if (isFault(error)) {
      images.remove(image);
      tell(refusalOf(image, error));
      announce(`${image.name} is refused: ${error.message}`);
      return;
    }
    image.state = error.refused ? 'ready' : 'unchecked';
    if (error.status === 429) setTimeout(() => retry(image), error.retryAfter * 1000);
    if (image === images.selected) tellState(noticeOf(error, () => analyze(image)));
  }

  async function run(image, signal) {
    if (signal.aborted) return;
    try {
      const analysis = await ask(image, signal);
      if (signal.aborted) return;
      take(image, analysis);
      if (image === images.selected) tellState(options().token_merging > 0 ? MERGED() : null);
    } catch (error) {
      if (signal.aborted) return;
      fail(image, error instanceof api.ApiError ? error : new api.ApiError(undefined, { message: error.message }));
    }
  }

  const MERGED = () => notice('info', 'No maps with token merging:', 'a merged token has no one place in the image.');

  async function analyze(image) {
    running.get(image)?.abort();
    const control = new AbortController();
    const ended = (queue = queue.then(() => run(image, control.signal)));
    running.set(image, { abort: () => control.abort(), ended });
    await ended;
    if (control.signal.aborted) return;
    running.delete(image);
    onDone(image);
  }

  function retry(image) {
    if (images.has(image) && image.state === 'unchecked' && !running.has(image)) analyze(image);
  }

  return {
    analyze,
    isBusy: (image) => running.has(image),
    // Analyses `image` unless that was done as it is prepared now.
    refresh(image) {
      if (running.has(image) || image.analysis?.options === JSON.stringify(options())) return;
      analyze(image);
    },
    // Forgets the images that are no longer asked about.
    drop() {
      for (const [image, { abort }] of running) {
        if (images.has(image)) continue;
        abort();
        running.delete(image);
      }
    },
    // Analyses the images that the server could not look at.
    retry: () => images.all.forEach(retry),
    // Resolves when the server has seen each image, or could not.
    async settled() {
      await Promise.all([...running.values()].map(({ ended }) => ended));
    },
  };
}
