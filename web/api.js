// The server's HTTP surface, as any other program would use it. Paths are relative, so that a proxy may add a prefix.

let key = '';
let onKeyWanted = async () => false;

export const setKey = (value) => { key = value; };
export const hasKey = () => key !== '';
// `ask` resolves to true once there is another key to try.
export const whenKeyWanted = (ask) => { onKeyWanted = ask; };

// What the server, or the way to it, said instead of an answer.
export class ApiError extends Error {
  constructor(status, { message, code, param }, retryAfter) {
    super(message);
    this.status = status;  // 0: the server was not reached
    this.code = code ?? '';
    this.param = param ?? '';
    this.retryAfter = retryAfter;  // seconds; undefined if asking again is pointless
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
  try { error = (await response.json()).error ?? {}; } catch { /* not ours: a proxy's page */ }
  error.message ??= `the server answered with status ${response.status}`;
  const retryAfter = retryAfterOf(response.headers);
  return new ApiError(response.status, error, retryAfter ?? (response.status === 503 ? 2 : undefined));
}

async function request(path, { body, signal, quiet = false } = {}) {
  for (;;) {
    const headers = key ? { authorization: `Bearer ${key}` } : {};
    if (body !== undefined) headers['content-type'] = 'application/json';
    let response;
    try {
      response = await fetch(path, { method: body === undefined ? 'GET' : 'POST', headers, signal, cache: 'no-store',
                                     body: body === undefined ? undefined : JSON.stringify(body) });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ApiError(0, { message: 'the server cannot be reached; is the gateway running?' }, 3);
    }
    if (response.ok) return response;
    if (response.status === 401 && !quiet && await onKeyWanted()) continue;
    throw await errorOf(response);
  }
}

export const status = (signal) => request('v1/diptych/status', { signal, quiet: true }).then((r) => r.json());
export const plan = (body, signal) => request('v1/diptych/plan', { body, signal, quiet: true }).then((r) => r.json());
export const analyze = (body, signal) => request('v1/diptych/analyze', { body, signal }).then((r) => r.json());
export const chat = (body, signal) => request('v1/chat/completions', { body, signal }).then((r) => r.json());

// Calls onChunk with each chunk of the stream. Resolves at its end.
export async function streamChat(body, signal, onChunk) {
  const response = await request('v1/chat/completions', { body: { ...body, stream: true, stream_options: { include_usage: true } }, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = '', done = false;
  for (;;) {
    const piece = await reader.read();
    if (piece.done) break;
    pending += piece.value;
    const events = pending.split('\n\n');
    pending = events.pop();
    for (const event of events) {
      if (!event.startsWith('data: ')) continue;  // a ping
      if (event === 'data: [DONE]') { done = true; continue; }
      const chunk = JSON.parse(event.slice(6));
      if (chunk.error) throw new ApiError(200, chunk.error);
      onChunk(chunk);
    }
  }
  if (!done) throw new ApiError(0, { message: 'the stream broke off before its end; ask again' });
}

// The flat body of a chat request. turns: [{role, text}], the last one the user's; the image stands in the first.
export function chatBody({ model, turns, imageUrl, options, imageOptions }) {
  const messages = turns.map(({ role, text }, index) => {
    if (index > 0 || !imageUrl) return { role, content: text };
    const parts = [{ type: 'image_url', image_url: { url: imageUrl } }];
    if (text) parts.push({ type: 'text', text });
    return { role, content: parts };
  });
  const body = { model, messages, ...options };
  if (imageUrl && Object.keys(imageOptions).length > 0) body.image_options = imageOptions;
  return body;
}

// The same request for a shell. The image is read from the file that it came from.
export function curlOf(body, fileName) {
  const address = new URL('v1/chat/completions', document.baseURI).href;
  const mark = 'IMAGE_GOES_HERE';
  const text = JSON.stringify(body, (name, value) =>
    name === 'url' && typeof value === 'string' && value.startsWith('data:') ? value.replace(/,.*$/s, `,${mark}`) : value, 1);
  const escaped = text.replace(/[\\$`]/g, '\\$&');
  const quoted = `'${(fileName ?? 'image').replaceAll("'", "'\\''")}'`;
  const filled = escaped.replace(mark, () => `$(base64 < ${quoted} | tr -d '\\n')`);
  const auth = hasKey() ? ' -H "authorization: Bearer $DIPTYCH_API_KEY"' : '';
  return `curl -sN '${address}' -H 'content-type: application/json'${auth} --data-binary @- <<JSON\n${filled}\nJSON`;
}
