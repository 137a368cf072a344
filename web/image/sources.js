// Where images come from: samples, files, the clipboard, what is dropped, addresses.
import { byId, el, notice } from '../dom.js';
import { byteSize } from '../format.js';
import { imageByAddress, readImage, Unreadable } from './reading.js';
import { samples } from './samples.js';

const unknownFile = (file) => file.type !== '' && !file.type.startsWith('image/');

// What a page lets go when one of its images is dragged: the image's address.
function addressIn(transfer) {
  const list = transfer.getData('text/uri-list') || transfer.getData('text/plain');
  const html = new DOMParser().parseFromString(transfer.getData('text/html'), 'text/html');
  const source = html.querySelector('img[src]')?.getAttribute('src');
  return source ?? list.split('\n').find((line) => line !== '' && !line.startsWith('#')) ?? '';
}

// images: Images. limits(): the server's. tell(notice): shows a notice, or none.
export function createSources({ images, limits, tell }) {
  const several = byId('several');

  function take(taken, keep = several.checked) {
    const left = images.add(taken, { keep });
    const shrunk = taken.filter(({ original }) => original);
    if (left > 0) tell(notice('warning', `${images.most} images at most:`, `${left} left out.`));
    else tell(shrunk.length > 0 ? copyNotice(shrunk[0]) : null);
  }

  function copyNotice(image) {
    const { blob, width, height, allowed } = image.original;
    const shrunk = image.width < width;
    const from = `${width} × ${height}, ${byteSize(blob.size)}`,
      to = `${image.width} × ${image.height}, ${byteSize(image.blob.size)}`;
    const asItIs = async () =>
      images.replace(image, await readImage(blob, image.name, { limits: limits(), asIs: true }));
    const original =
      shrunk && allowed
        ? el(
            'button',
            { type: 'button', class: 'quiet', onclick: () => asItIs().then(() => tell(null)) },
            'Send the original',
          )
        : null;
    return notice(
      'info',
      shrunk ? `${image.name} was shrunk here:` : `${image.name} was converted here:`,
      `from ${from} to ${to}, before it is sent.`,
      original,
    );
  }

  function fail(error) {
    if (!(error instanceof Unreadable)) throw error;
    tell(notice('error', error.title, error.message));
  }

  async function takeFiles(files) {
    const chosen = [...files].filter((file) => !unknownFile(file) || files.length === 1);
    if (chosen.length > 1 && images.most > 1) several.checked = true;
    try {
      const read = chosen.map((file) => readImage(file, file.name || 'pasted image', { limits: limits() }));
      take(await Promise.all(read));
    } catch (error) {
      fail(error);
    }
  }

  async function takeBlobAt(address, name, sample = null) {
    const blob = await (await fetch(address)).blob();
    take([await readImage(blob, name, { limits: limits(), sample })]);
  }

  async function takeAddress(text) {
    const address = URL.canParse(text) ? new URL(text) : null;
    if (address?.protocol === 'https:') return take([imageByAddress(address.href)]);
    if (address?.protocol === 'data:') return takeData(text);
    const http = address?.protocol === 'http:';
    const title = http ? 'Only https addresses:' : 'This is not the address of an image:';
    return tell(notice('error', title, 'save the image and drop the file here.'));
  }

  // The policy of the page lets it show data: addresses, not fetch them.
  async function takeData(text) {
    const [head, body] = [text.slice(5, text.indexOf(',')), text.slice(text.indexOf(',') + 1)];
    try {
      const bytes = head.endsWith(';base64')
        ? Uint8Array.from(atob(body), (c) => c.charCodeAt(0))
        : decodeURIComponent(body);
      const blob = new Blob([bytes], { type: head.split(';')[0] });
      take([await readImage(blob, 'dropped image', { limits: limits() })]);
    } catch (error) {
      fail(error instanceof Unreadable ? error : new Unreadable('This data: address is damaged.', ''));
    }
  }

  function drop(transfer) {
    if (transfer.files.length > 0) return takeFiles(transfer.files);
    return takeAddress(addressIn(transfer));
  }

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
        onclick: () => toggleSample(sample),
      },
      el('img', { src: `playground/samples/${sample.file}`, alt: '', width: 48, height: 48 }),
    );

  function toggleSample(sample) {
    const there = images.all.find((image) => image.sample === sample.file);
    if (there && several.checked) return images.remove(there);
    return takeBlobAt(`playground/samples/${sample.file}`, sample.file, sample.file);
  }

  images.addEventListener('change', () => {
    const there = new Set(images.all.map(({ sample }) => sample));
    for (const button of byId('samples').children)
      button.setAttribute('aria-pressed', String(there.has(button.dataset.file)));
  });

  byId('samples').append(...samples.map(sampleButton));
  byId('choose').addEventListener('click', () => byId('file').click());
  byId('file').addEventListener('change', (event) => {
    takeFiles([...event.target.files]);
    event.target.value = '';
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
    takeAddress(byId('address').value.trim());
    byId('address').select();
  });
  document.addEventListener('paste', (event) => {
    if (event.clipboardData.files.length === 0) return;
    event.preventDefault();
    takeFiles([...event.clipboardData.files]);
  });
  const isOurs = (event) =>
    event.dataTransfer?.types.some((type) => type === 'Files' || type === 'text/uri-list' || type === 'text/html');
  for (const type of ['dragover', 'dragleave', 'drop']) {
    document.addEventListener(type, (event) => {
      if (!isOurs(event)) return;
      event.preventDefault();
      document.body.classList.toggle('dropping', type === 'dragover');
      if (type === 'drop') drop(event.dataTransfer);
    });
  }
}
