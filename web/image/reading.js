// A file as an image that can be sent: opened as its EXIF says, and made smaller or converted where that helps.
import { byteSize, count } from '../format.js';
import { newImageId } from './collection.js';

const SENT_AS_THEY_ARE = new Set(['image/png', 'image/jpeg', 'image/webp']);
const LARGE = { bytes: 3e6, pixels: 8e6 }; // from here an image is shrunk before it is sent
const SHRUNK_SIDES = [2048, 1024, 512, 256]; // the first is twice what any model here sees; the others are for servers with low limits
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
    throw new Unreadable(`${name} is not an image that can be shown.`, 'Choose a PNG, JPEG, WebP or GIF file.');
  }
}

// A copy of `bitmap` whose longer side is at most `side`: {blob, width, height}.
async function encode(bitmap, type, side) {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => {
    canvas.toBlob(resolve, type, QUALITY);
  });
  return { blob, width: canvas.width, height: canvas.height };
}

// limits: the server's, numbers or Infinity.
const within = (limits, blob, { width, height }) =>
  blob.size <= limits.bytes && width * height <= limits.pixels && Math.max(width, height) <= limits.side;

// What is sent of `blob`: itself if it is small or wanted as it is, else the largest copy that the server takes.
async function sendable(blob, name, bitmap, limits, asIs) {
  const known = SENT_AS_THEY_ARE.has(blob.type);
  const small = blob.size <= LARGE.bytes && bitmap.width * bitmap.height <= LARGE.pixels;
  if (known && (small || asIs) && within(limits, blob, bitmap)) return blob;
  const whole = small && blob.type !== 'image/jpeg' ? [['image/png', Infinity]] : [];
  for (const [type, side] of [...whole, ...SHRUNK_SIDES.map((most) => ['image/jpeg', most])]) {
    const copy = await encode(bitmap, type, side);
    if (within(limits, copy.blob, copy)) return copy.blob;
  }
  const most = `this server takes ${byteSize(limits.bytes)} and ${count(limits.pixels)} pixels at most.`;
  throw new Unreadable(`${name} is too large:`, `${byteSize(blob.size)}; ${most}`);
}

// Resolves to an image (see collection.js); `original` tells what it was if a copy is sent. Rejects with Unreadable.
export async function readImage(blob, name, { limits, asIs = false, sample = null }) {
  const opened = await open(blob, name);
  const sent = await sendable(blob, name, opened, limits, asIs);
  const bitmap = sent === blob ? opened : await open(sent, name);
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

// A blob that was read before, once more.
export async function loadBitmap(blob) {
  const bitmap = await createImageBitmap(blob, { imageOrientation: 'from-image' });
  return { url: await dataUrl(blob), bitmap };
}
