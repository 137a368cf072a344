// Asks one question until it is answered, refused for good, given up or stopped.
import * as api from '../api.js';
import { bodyOf, forgetAnswer, takeChunk } from './record.js';

const AUTOMATIC_TRIES = 5;
let relevanceKnown = true; // until the server says otherwise

// One try. Resolves to true if there is to be another.
async function attempt(record, tries, { answer, signal }) {
  forgetAnswer(record);
  record.relevance &&= relevanceKnown;
  answer.showWaiting(record);
  try {
    await api.streamChat(bodyOf(record), signal, (chunk) => {
      if (takeChunk(record, chunk)) answer.showPiece(record);
    });
    return false;
  } catch (error) {
    return afterError(record, tries, error, { answer, signal });
  }
}

async function afterError(record, tries, error, { answer, signal }) {
  if (signal.aborted) {
    record.stopped = true;
    return false;
  }
  if (record.relevance && error.param === 'return_relevance') {
    relevanceKnown = false; // an older server
    return true;
  }
  const passes = error.retryAfter !== undefined && record.text === '';
  if (passes && (await answer.postpone(record, error, { automatic: tries < AUTOMATIC_TRIES, signal }))) return true;
  record.error =
    error instanceof api.ApiError
      ? error
      : new api.ApiError(undefined, { message: `the page failed: ${error.message}` });
  return false;
}

// Fills `record`; its `error` or `stopped` say if it has no whole answer. answer: createAnswer's.
export async function ask(record, { answer, signal }) {
  for (let tries = 0; await attempt(record, tries, { answer, signal }); ++tries);
}
