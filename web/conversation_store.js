// The kept conversation in this browser (IndexedDB), so that it survives a reload. Each tab has its own. No key is ever stored, nor an
// image by an address with a query, which may hold one.
import { loadBitmap } from './image/reading.js';

const BOUNDS = { records: 100, bytes: 24e6, conversations: 8, age: 7 * 24 * 3600 * 1000 };
const DATABASE = 'diptych',
  TABLE = 'conversations',
  TAB = 'diptych-conversation';

// The tab's name for its conversation: it outlives a reload, not the tab.
function tabId() {
  const id = sessionStorage.getItem(TAB) ?? crypto.getRandomValues(new Uint32Array(2)).join('-');
  sessionStorage.setItem(TAB, id);
  return id;
}

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

async function table(mode) {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(TABLE, { keyPath: 'id' });
  const database = await done(opening);
  return database.transaction(TABLE, mode).objectStore(TABLE);
}

// Without storage (a private window, a full disk) the conversation lives as long as the page.
const quietly = (work) => work().catch(() => undefined);

const storable = (image) => image.blob !== null || !/[?@]/.test(image.url);
const imagesOf = (records) => [
  ...new Map(records.flatMap(({ images }) => images).map((image) => [image.id, image])).values(),
];

const slimImage = ({ id, name, blob, url, width, height, sample }) => ({
  id,
  name,
  blob,
  url: blob ? null : url,
  width,
  height,
  sample,
});
function slimRecord({ images, earlier: _, entries: __, diptych, error: ___, ...rest }) {
  const { timings, context_budget } = diptych ?? {};
  return {
    ...rest,
    images: images.map(({ id }) => id),
    relevance: false,
    diptych: diptych && { timings, context_budget },
  };
}

const bytesOf = (images) => images.reduce((sum, { blob }) => sum + (blob?.size ?? 0), 0);
const fits = (records, images) =>
  records.length <= BOUNDS.records && bytesOf(images) <= BOUNDS.bytes && images.every(storable);

// Removes what is too old, and the oldest of too many.
async function prune(conversations, own) {
  const all = await done(conversations.getAll());
  const others = all.filter(({ id }) => id !== own).sort((a, b) => b.savedAt - a.savedAt);
  const old = (conversation, i) => i >= BOUNDS.conversations - 1 || Date.now() - conversation.savedAt > BOUNDS.age;
  for (const { id } of others.filter(old)) conversations.delete(id);
}

// Keeps `records` in place of what was kept. One that is over a bound is not kept.
export const store = (records) =>
  quietly(async () => {
    const images = imagesOf(records),
      id = tabId();
    if (!fits(records, images)) return forget();
    const conversations = await table('readwrite');
    conversations.put({ id, savedAt: Date.now(), records: records.map(slimRecord), images: images.map(slimImage) });
    return prune(conversations, id);
  });

// The tab takes another name at once: a reload may come before the database opens.
export const forget = () =>
  quietly(async () => {
    const id = tabId();
    sessionStorage.removeItem(TAB);
    (await table('readwrite')).delete(id);
  });

async function revive(image) {
  const opened = image.blob ? await loadBitmap(image.blob) : { url: image.url, bitmap: null };
  return { ...image, ...opened, original: null, state: 'checking', analysis: null };
}

// Resolves to the records that were kept, oldest first.
export async function load() {
  const kept = await quietly(async () => {
    const found = await done((await table('readonly')).get(tabId()));
    if (!found) return [];
    const images = new Map((await Promise.all(found.images.map(revive))).map((image) => [image.id, image]));
    const records = found.records.map((record) => ({
      ...record,
      entries: [],
      error: null,
      images: record.images.map((id) => images.get(id)),
    }));
    records.forEach((record, i) => Object.assign(record, { earlier: records.slice(0, i) }));
    return records;
  });
  return kept ?? [];
}
