// Where images come from: samples, files, the clipboard, what is dropped, addresses.
import { byId, el, notice } from '../dom.js';
import { byteSize } from '../format.js';
import { addressIn, imageAt } from './addresses.js';
import { readImage, Unreadable } from './reading.js';
import { samples } from './samples.js';

const isOther = (file) => file.type !== '' && !file.type.startsWith('image/');

// Says that a copy of `image` is sent; `onOriginal` sends the original instead.
function copyNotice(image, onOriginal) {
  const { blob, width, height, allowed } = image.original;
  const shrunk = image.width < width;
  const words = (file, w, h) => `${w} × ${h}, ${byteSize(file.size)}`;
  const text = `from ${words(blob, width, height)} to ${words(image.blob, image.width, image.height)}, before it is sent.`;
  const button = el('button', { type: 'button', class: 'quiet', onclick: onOriginal }, 'Send the original');
  const title = `${image.name} was ${shrunk ? 'shrunk' : 'converted'} here:`;
  return notice('info', title, text, shrunk && allowed ? button : null);
}

// images: Images. limits(): the server's. tell(notice): shows a notice, or none.
export function createSources({ images, limits, tell }) {
  const several = byId('several');

  function take(taken) {
    const left = images.add(taken, { keep: several.checked });
    const copy = taken.find(({ original }) => original);
    if (left > 0) tell(notice('warning', `${images.most} images at most:`, `${left} left out.`));
    else tell(copy ? copyNotice(copy, () => telling(() => sendOriginal(copy))) : null);
  }

  // Does `work`, and tells why an image cannot be used.
  async function telling(work) {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      tell(notice('error', error.title, error.message));
    }
  }

  async function sendOriginal(image) {
    const { original, name } = image;
    images.replace(image, await readImage(original.blob, name, { limits: limits(), asIs: true }));
    // Reading takes a while, in which the person may have gone elsewhere.
    if (byId('image-notice').contains(document.activeElement)) byId('choose').focus({ preventScroll: true });
    tell(null);
  }

  // One after the other: each may take much memory while it is opened.
  async function takeFiles(files) {
    const chosen = files.filter((file) => !isOther(file) || files.length === 1),
      read = [];
    let failed = null;
    for (const file of chosen) {
      await readImage(file, file.name || 'pasted image', { limits: limits() }).then(
        (image) => read.push(image),
        (error) => (failed = error),
      );
    }
    if (read.length > 1 && images.most > 1) several.checked = true;
    if (read.length > 0) take(read);
    if (failed) throw failed;
  }

  async function takeSample({ file }) {
    const there = images.all.find((image) => image.sample === file);
    if (there && several.checked) return images.remove(there);
    const blob = await (await fetch(`playground/samples/${file}`)).blob();
    return take([await readImage(blob, file, { limits: limits(), sample: file })]);
  }

  const takeAddress = async (text) => take([await imageAt(text, { limits: limits() })]);
  const drop = (files, address) => (files.length > 0 ? takeFiles(files) : takeAddress(address));

  // ---- what is on the page

  const sampleButton = (sample) =>
    el(
      'button',
      {
        type: 'button',
        class: 'sample',
        'data-file': sample.file,
        'aria-pressed': 'false',
        'aria-label': `Sample: ${sample.name}`,
        title: sample.name,
        onclick: () => telling(() => takeSample(sample)),
      },
      el('img', { src: `playground/samples/${sample.file}`, alt: '', width: 48, height: 48 }),
    );

  images.addEventListener('change', () => {
    const there = new Set(images.all.map(({ sample }) => sample));
    for (const button of byId('samples').children)
      button.setAttribute('aria-pressed', String(there.has(button.dataset.file)));
  });

  byId('samples').append(...samples.map(sampleButton));
  byId('choose').addEventListener('click', () => byId('file').click());
  byId('file').addEventListener('change', (event) => {
    const files = [...event.target.files];
    event.target.value = '';
    telling(() => takeFiles(files));
  });
  several.addEventListener('change', () => {
    if (!several.checked && images.all.length > 1) images.add([images.selected], { keep: false });
  });
  byId('by-address').addEventListener('click', (event) => {
    const open = byId('address-form').hidden;
    byId('address-form').hidden = !open;
    event.currentTarget.setAttribute('aria-expanded', String(open));
    if (open) byId('address').focus();
  });
  byId('address-form').addEventListener('submit', (event) => {
    event.preventDefault();
    telling(() => takeAddress(byId('address').value.trim()));
    byId('address').select();
  });
  document.addEventListener('paste', (event) => {
    if (event.clipboardData.files.length === 0) return;
    event.preventDefault();
    const files = [...event.clipboardData.files];
    telling(() => takeFiles(files));
  });
  const isOurs = (event) =>
    event.dataTransfer?.types.some((type) => type === 'Files' || type === 'text/uri-list' || type === 'text/html');
  for (const type of ['dragover', 'dragleave', 'drop']) {
    document.addEventListener(type, (event) => {
      if (!isOurs(event)) return;
      event.preventDefault();
      document.body.classList.toggle('dropping', type === 'dragover');
      if (type !== 'drop') return;
      const files = [...event.dataTransfer.files],
        address = addressIn(event.dataTransfer);
      telling(() => drop(files, address));
    });
  }
}
