// A file as an image that can be sent: opened as its EXIF says, and made smaller or converted where that helps.
import { byteSize } from '../format.js';
import { newImageId } from './collection.js';

const SENT_AS_THEY_ARE = new Set(['image/png', 'image/jpeg', 'image/webp']);
const LARGE = { bytes: 3e6, pixels: 8e6 }; // from here an image is shrunk before it is sent
const SHRUNK_SIDE = 2048; // twice what any model here sees
const QUALITY = 0.92;
const MOST_BYTES = 200e6; // of a file that the page opens at all

// Why a file cannot be used, for people.
export class Unreadable extends Error {
  constructor(title, text) {
    super(text);
    this.title = title;
  }
}

export function dataUrl(blob) {
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

async function open(blob, name) {
  if (blob.size > MOST_BYTES) throw new Unreadable(`${name} is too large to open:`, `${byteSize(blob.size)}.`);
  try {
    return await createImageBitmap(blob, { imageOrientation: 'from-image' });
  } catch {
    throw new Unreadable(`${name} is not an image that can be shown.`, 'Take a PNG, JPEG, WebP or GIF file.');
  }
}

function encode(bitmap, side, type) {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => {
    canvas.toBlob(resolve, type, QUALITY);
  });
}

// limits: the server's, numbers or Infinity.
const within = (limits, blob, bitmap) =>
  blob.size <= limits.bytes &&
  bitmap.width * bitmap.height <= limits.pixels &&
  Math.max(bitmap.width, bitmap.height) <= limits.side;

// What is sent of `blob`: itself if it is small or wanted as it is, else a copy.
async function sendable(blob, bitmap, limits, asIs) {
  const known = SENT_AS_THEY_ARE.has(blob.type);
  const small = blob.size <= LARGE.bytes && bitmap.width * bitmap.height <= LARGE.pixels;
  if (known && (small || asIs) && within(limits, blob, bitmap)) return blob;
  const lossless = blob.type !== 'image/jpeg' && small;
  return encode(bitmap, small ? Infinity : SHRUNK_SIDE, lossless ? 'image/png' : 'image/jpeg');
}

// Resolves to an image (see collection.js); `original` tells what it was if a copy is sent. Rejects with Unreadable.
export async function readImage(blob, name, { limits, asIs = false, sample = null }) {
  const opened = await open(blob, name);
  const sent = await sendable(blob, opened, limits, asIs);
  const bitmap = sent === blob ? opened : await open(sent, name);
  if (!within(limits, sent, bitmap)) {
    throw new Unreadable(
      `${name} is too large:`,
      `${byteSize(sent.size)}; this server takes ${byteSize(limits.bytes)} at most.`,
    );
  }
  const original =
    sent === blob ? null : { blob, width: opened.width, height: opened.height, allowed: within(limits, blob, opened) };
  if (original) opened.close();
  const { width, height } = bitmap;
  return {
    id: newImageId(),
    name,
    blob: sent,
    url: await dataUrl(sent),
    width,
    height,
    bitmap,
    sample,
    original,
    state: 'checking',
    analysis: null,
  };
}

// An image that the server is to fetch.
export const imageByAddress = (url) => ({
  id: newImageId(),
  name: new URL(url).pathname.split('/').pop() || new URL(url).host,
  blob: null,
  url,
  width: 0,
  height: 0,
  bitmap: null,
  sample: null,
  original: null,
  state: 'checking',
  analysis: null,
});

// A blob that was read before, once more.
export async function loadBitmap(blob) {
  const bitmap = await createImageBitmap(blob, { imageOrientation: 'from-image' });
  return { url: await dataUrl(blob), bitmap };
}
