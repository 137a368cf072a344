// One question with its answer.
import * as api from '../api.js';

// A record: {id, at, question, images, earlier (records of the conversation before it), options, imageOptions, relevance (asked for),
// model, text, entries, finish, usage, diptych, requestId, error, stopped}.
export const newRecord = (fields) => ({
  id: crypto.getRandomValues(new Uint32Array(2)).join('-'),
  at: new Date().toISOString(),
  ...fields,
  ...NO_ANSWER,
});
const NO_ANSWER = {
  text: '',
  entries: [],
  finish: null,
  usage: null,
  diptych: null,
  requestId: null,
  error: null,
  stopped: false,
};
export const forgetAnswer = (record) => Object.assign(record, NO_ANSWER, { entries: [] });

// A caption has no words of its own; within a conversation it needs some.
const CAPTION = 'What is in the image?';

// The turns that the record's question ends. Each image stands in the turn that brought it.
export function turnsOf({ question, images, earlier }) {
  const shown = new Set();
  const fresh = (record) => {
    const added = record.images.filter((image) => !shown.has(image.id));
    added.forEach((image) => shown.add(image.id));
    return added;
  };
  const turns = earlier.flatMap((record) => [
    { role: 'user', text: record.question || CAPTION, images: fresh(record) },
    { role: 'assistant', text: record.text, images: [] },
  ]);
  return [...turns, { role: 'user', text: question || (turns.length > 0 ? CAPTION : ''), images: fresh({ images }) }];
}

// The request without what only this page's charts need.
export function plainBodyOf(record) {
  const { model, options, imageOptions } = record;
  return api.chatBody({ model, turns: turnsOf(record), options, imageOptions });
}

export function bodyOf(record) {
  return {
    ...plainBodyOf(record),
    logprobs: true,
    top_logprobs: 4,
    ...(record.relevance ? { return_relevance: true } : {}),
  };
}

// Takes in one chunk of the stream. Returns true if the text has grown.
export function takeChunk(record, chunk) {
  record.requestId ??= chunk.id?.replace(/^chatcmpl-/, '');
  record.usage = chunk.usage ?? record.usage;
  record.diptych = chunk.diptych ?? record.diptych;
  const choice = chunk.choices?.[0];
  record.finish = choice?.finish_reason ?? record.finish;
  record.entries.push(...(choice?.logprobs?.content ?? []));
  record.text += choice?.delta?.content ?? '';
  return Boolean(choice?.delta?.content);
}

// The record for a file: the request without the images' bytes, and the reply.
export function exported(record) {
  const names = new Map(record.images.map((image) => [image.url, `file:${image.name}`]));
  const shorten = (name, value) =>
    name === 'url' && String(value).startsWith('data:') ? (names.get(value) ?? 'file:') : value;
  const request = JSON.parse(JSON.stringify(bodyOf(record), shorten));
  const { at, question, text, finish, usage, requestId, model, images } = record;
  const { timings, context_budget, relevance } = record.diptych ?? {};
  const answer = {
    answer: text,
    finish_reason: finish,
    usage,
    timings,
    context_budget,
    ...(relevance ? { relevance } : {}),
  };
  return { at, request_id: requestId, model, images: images.map(({ name }) => name), question, ...answer, request };
}
