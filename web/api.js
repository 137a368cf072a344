// The server's HTTP surface, as any other program would use it. Paths are relative, so that a proxy may add a prefix.

let key = '';
let onKeyWanted = async () => false;

export const setKey = (value) => {
  key = value;
};
export const hasKey = () => key !== '';
// `ask` resolves to true once there is another key to try.
export const whenKeyWanted = (ask) => {
  onKeyWanted = ask;
};
export const addressOf = (path) => new URL(path, document.baseURI).href;

export const UNREACHED = 0; // the status of an ApiError without a reply
const RETRY_SECONDS = 2; // when the server does not say
// Codes of refusals that pass. In a stream that has begun there is no status and no retry-after to tell them by.
const PASSING = new Set(['queue_full', 'kv_full', 'rate_limited', 'draining', 'tier_unavailable', 'slow_reader']);

// The server puts the parameter before what is wrong with it; the page shows where that is.
function withoutParameter(message, param) {
  const prefix = `${param}: `;
  return param && message?.startsWith(prefix) ? message.slice(prefix.length) : message;
}

// What the server, or the way to it, said instead of an answer.
export class ApiError extends Error {
  constructor(status, { message, code, param }, retryAfter) {
    super(withoutParameter(message, param));
    this.status = status; // UNREACHED, an HTTP status of 400 and up, or undefined for the error of a stream
    this.code = code ?? '';
    this.param = param ?? '';
    this.retryAfter = retryAfter; // seconds; undefined if asking again is pointless
  }
  // The request itself is at fault.
  get refused() {
    return this.status >= 400 && this.status < 500 && this.retryAfter === undefined;
  }
}

function retryAfterOf(headers) {
  const ms = Number(headers.get('retry-after-ms') ?? NaN);
  if (ms >= 0) return ms / 1000;
  const seconds = Number(headers.get('retry-after') ?? NaN);
  return seconds >= 0 ? seconds : undefined;
}

async function errorOf(response) {
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    /* not ours: a proxy's page */
  }
  error.message ??= `the server answered with status ${response.status}`;
  const passing = response.status === 503 || PASSING.has(error.code) ? RETRY_SECONDS : undefined;
  return new ApiError(response.status, error, retryAfterOf(response.headers) ?? passing);
}

const errorOfStream = (error) => new ApiError(undefined, error, PASSING.has(error.code) ? RETRY_SECONDS : undefined);

function send(path, body, signal) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  if (body === undefined) return fetch(path, { headers, signal, cache: 'no-store' });
  headers['content-type'] = 'application/json';
  return fetch(path, { method: 'POST', headers, signal, cache: 'no-store', body: JSON.stringify(body) });
}

async function request(path, { body, signal, quiet = false } = {}) {
  for (;;) {
    let response;
    try {
      response = await send(path, body, signal);
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ApiError(UNREACHED, { message: 'the server cannot be reached; is the gateway running?' }, 3);
    }
    if (response.ok) return response;
    if (response.status === 401 && !quiet && (await onKeyWanted())) continue;
    throw await errorOf(response);
  }
}

const json = (response) => response.json();
export const status = (signal) => request('v1/diptych/status', { signal, quiet: true }).then(json);
export const plan = (body, signal) => request('v1/diptych/plan', { body, signal, quiet: true }).then(json);
export const analyze = (body, signal) => request('v1/diptych/analyze', { body, signal }).then(json);
export const chat = (body, signal) => request('v1/chat/completions', { body, signal }).then(json);

// The data of each server-sent event of `response`, as text.
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = '';
  for (;;) {
    const piece = await reader.read().catch((error) => {
      if (error.name === 'AbortError') throw error;
      return { done: true };
    });
    if (piece.done) return;
    pending += piece.value;
    const events = pending.split('\n\n');
    pending = events.pop();
    for (const event of events) if (event.startsWith('data: ')) yield event.slice(6); // the others are pings
  }
}

// Calls onChunk with each chunk of the stream. Resolves at its end.
export async function streamChat(body, signal, onChunk) {
  const streamed = { ...body, stream: true, stream_options: { include_usage: true } };
  const response = await request('v1/chat/completions', { body: streamed, signal });
  for await (const event of eventsOf(response)) {
    if (event === '[DONE]') return;
    const chunk = JSON.parse(event);
    if (chunk.error) throw errorOfStream(chunk.error);
    onChunk(chunk);
  }
  throw new ApiError(UNREACHED, { message: 'the stream broke off before its end; ask again' });
}

// The body of a chat request. turns: [{role, text, images}], the last one the user's; images: [{url}].
export function chatBody({ model, turns, options, imageOptions }) {
  const messages = turns.map(({ role, text, images = [] }) => {
    if (images.length === 0) return { role, content: text };
    const parts = images.map(({ url }) => ({ type: 'image_url', image_url: { url } }));
    if (text) parts.push({ type: 'text', text });
    return { role, content: parts };
  });
  const body = { model, messages, ...options };
  const shown = turns.some(({ images = [] }) => images.length > 0);
  if (shown && Object.keys(imageOptions).length > 0) body.image_options = imageOptions;
  return body;
}
