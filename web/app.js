// Joins the parts of the page. Nothing here, and nothing that it loads, asks another origin.
import * as api from './api.js';
import { createCompare } from './compare.js';
import { createComposer } from './composer.js';
import { createAnswer } from './conversation.js';
import { announce, byId, count, el } from './dom.js';
import { createHistory } from './history.js';
import { createImage } from './image.js';
import { startStatus } from './status.js';

const AUTOMATIC_TRIES = 5;

let model = null;      // ModelDescription, once known
let thread = [];       // turns of the conversation, if it is kept
let asking = null;     // AbortController of the question that is under way
let relevanceKnown = true;  // until the server says otherwise

const image = createImage({ onChange: imageChanged });
const answer = createAnswer({ onToken: (map) => image.showToken(map), paintToken: (canvas, map) => image.paintToken(canvas, map) });
const history = createHistory({ onShow: showAgain });
const composer = createComposer({ image, thread: () => thread, onAsk: ask, onStop: () => asking?.abort() });
const compare = createCompare({ image, request: (imageOptions) => bodyOf(composer.turns().slice(-1), imageOptions) });

function imageChanged() {
  startAnew();
  compare.reset();
  composer.refresh();
}

function startAnew() {
  thread = [];
  byId('restart').hidden = true;
}

function bodyOf(turns, imageOptions) {
  return api.chatBody({ model: model?.name, turns: turns.length > 0 ? turns : [{ role: 'user', text: '' }], imageUrl: image.current?.url,
                        options: composer.options(), imageOptions });
}

// ---- a question's way

function newRecord(question) {
  const imageOptions = image.imageOptions();
  const turns = [...thread, { role: 'user', text: question }];
  const body = bodyOf(turns, imageOptions);
  body.logprobs = true;
  body.top_logprobs = 4;
  if (image.current && composer.wantsRelevance() && relevanceKnown && !(body.num_beams > 1) && !(imageOptions.token_merging > 0)) body.return_relevance = true;
  return { at: new Date().toISOString(), question, earlier: thread, body, text: '', entries: [], finish: null, usage: null, diptych: null,
           imageName: image.current?.name, imageUrl: image.current?.url, image: image.current };
}

function take(record, chunk) {
  record.requestId ??= chunk.id?.replace(/^chatcmpl-/, '');
  record.model ??= chunk.model;
  record.usage = chunk.usage ?? record.usage;
  record.diptych = chunk.diptych ?? record.diptych;
  const choice = chunk.choices?.[0];
  if (!choice) return;
  record.finish = choice.finish_reason ?? record.finish;
  record.entries.push(...(choice.logprobs?.content ?? []));
  if (!choice.delta?.content) return;
  record.text += choice.delta.content;
  answer.showPiece(record);
}

// One try. Resolves to true if there is to be another.
async function attempt(record, tries, signal) {
  Object.assign(record, { text: '', entries: [] });
  answer.showWaiting(record);
  try {
    await api.streamChat(record.body, signal, (chunk) => take(record, chunk));
    return false;
  } catch (error) {
    if (signal.aborted) { record.stopped = true; return false; }
    if (!(error instanceof api.ApiError)) throw error;
    if (record.body.return_relevance && error.param === 'return_relevance') {  // an older server
      relevanceKnown = false;
      delete record.body.return_relevance;
      return true;
    }
    const later = error.retryAfter !== undefined && record.text === '';
    if (later && await answer.showRefused(record, error, { automatic: tries < AUTOMATIC_TRIES, signal })) return true;
    record.error = error;
    return false;
  }
}

async function ask(question) {
  if (asking) return;
  const own = asking = new AbortController();
  composer.setBusy(true);
  const record = newRecord(question);
  try {
    for (let tries = 0; await attempt(record, tries, own.signal); ++tries);
    finish(record);
  } catch (error) {
    answer.showError(record, { status: 0, message: `the page failed: ${error.message}`, code: '', param: '' });
  } finally {
    asking = null;
    composer.setBusy(false);
  }
}

function finish(record) {
  if (record.error) return answer.showError(record, record.error);
  answer.showWhole(record);
  if (!record.diptych) return undefined;
  history.add(record);
  if (byId('follow').checked && record.image === image.current) {
    thread = [...record.earlier, { role: 'user', text: record.question || 'What is in the image?' }, { role: 'assistant', text: record.text }];
    byId('restart').hidden = false;
    composer.clear();
  }
  return undefined;
}

function showAgain(record) {
  if (record.image !== image.current) image.put(record.image ?? null);
  answer.showWhole(record, { silent: true });
  byId('answer').scrollIntoView({ block: 'nearest' });
}

byId('follow').addEventListener('change', () => { startAnew(); composer.refresh(); });
byId('restart').addEventListener('click', () => { startAnew(); composer.refresh(); byId('question').focus(); announce('A new conversation'); });

// ---- what is served

function modelArrived({ model: described, limits }) {
  const changed = model === null || model.name !== described.name;
  model = described;
  image.setModel(described, limits);
  compare.setModel(described);
  const parameters = (described.parts ?? []).reduce((sum, part) => sum + Number(part.parameters), 0);
  byId('model-line').replaceChildren(el('strong', {}, described.name), ` ${size(parameters)} parameters \u00b7 ${described.dtype} on ${described.device} \u00b7 window ${count(described.window_tokens)}`);
  if (changed) composer.refresh();
}

function size(parameters) {
  if (parameters >= 1e9) return `${(parameters / 1e9).toFixed(1)} billion`;
  return parameters >= 1e6 ? `${(parameters / 1e6).toFixed(1)} million` : count(parameters);
}

const live = startStatus({ onModel: modelArrived, onKeyWanted() {
  byId('key-button').hidden = false;
  byId('model-line').textContent = 'this server asks for a key';
} });

// ---- key

let keyAsked = null;  // the promise of the dialog that is open

function wantKey() {
  keyAsked ??= new Promise((resolve) => {
    byId('key-button').hidden = false;
    const dialog = byId('key-dialog');
    byId('key-title').textContent = api.hasKey() ? 'Another key' : 'This server asks for a key';
    byId('key').value = dialog.returnValue = '';
    dialog.showModal();
    dialog.addEventListener('close', () => {
      keyAsked = null;
      const used = dialog.returnValue === 'use' && byId('key').value.trim() !== '';
      if (used) { api.setKey(byId('key').value.trim()); live.now(); composer.refresh(); }
      resolve(used);
    }, { once: true });
  });
  return keyAsked;
}
api.whenKeyWanted(wantKey);
byId('key-button').addEventListener('click', wantKey);
byId('key-cancel').addEventListener('click', () => byId('key-dialog').close(''));

// ---- colours

function applyTheme(theme) {
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}
const stored = (() => { try { return localStorage.getItem('theme'); } catch { return null; } })();
if (stored) {
  applyTheme(stored);
  const input = document.querySelector(`input[name=theme][value="${stored === 'dark' || stored === 'light' ? stored : 'system'}"]`);
  input.checked = true;
}
byId('theme').addEventListener('change', (event) => {
  applyTheme(event.target.value);
  try { localStorage.setItem('theme', event.target.value); } catch { /* kept for this page only */ }
});

byId('base-url').textContent = new URL('v1', document.baseURI).href;
composer.refresh();
