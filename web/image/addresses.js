// Images by their address: typed, or dropped from another page.
import { newImageId } from './collection.js';
import { readImage, Unreadable } from './reading.js';

// The address of an image that was dragged from another page, or ''.
export function addressIn(transfer) {
  const list = transfer.getData('text/uri-list') || transfer.getData('text/plain');
  const html = new DOMParser().parseFromString(transfer.getData('text/html'), 'text/html');
  const source = html.querySelector('img[src]')?.getAttribute('src');
  return source ?? list.split('\n').find((line) => line !== '' && !line.startsWith('#')) ?? '';
}

// An image that the server is to fetch.
function fetched(address) {
  const name = address.pathname.split('/').pop() || address.host;
  const unknown = { blob: null, width: 0, height: 0, bitmap: null, sample: null, original: null };
  return { id: newImageId(), name, url: address.href, ...unknown, state: 'checking', analysis: null };
}

// The page's policy lets it show data: addresses, not fetch them.
function blobOf(text) {
  const comma = text.indexOf(','),
    head = text.slice('data:'.length, comma),
    body = text.slice(comma + 1);
  try {
    const bytes = head.endsWith(';base64')
      ? Uint8Array.from(atob(body), (c) => c.charCodeAt(0))
      : decodeURIComponent(body);
    return new Blob([bytes], { type: head.split(';')[0] });
  } catch {
    throw new Unreadable('This data: address is damaged.', 'Save the image and drop the file here.');
  }
}

// Resolves to the image at `text`, an https: or data: address. Rejects with Unreadable.
export async function imageAt(text, { limits }) {
  const address = URL.canParse(text) ? new URL(text) : null;
  if (address?.protocol === 'https:') return fetched(address);
  if (address?.protocol === 'data:') return readImage(blobOf(text), 'dropped image', { limits });
  const title = address?.protocol === 'http:' ? 'Only https addresses:' : 'This is not the address of an image:';
  throw new Unreadable(title, 'save the image and drop the file here.');
}
