// Joins the parts of the page. Nothing here, and nothing that it loads, asks another origin.
import { createAnswer } from './answer/answer.js';
import { ask as askServer } from './answer/asking.js';
import { newRecord, turnsOf } from './answer/record.js';
import * as api from './api.js';
import { createCompare } from './compare.js';
import { createComposer } from './composer.js';
import { createConversation } from './conversation.js';
import { announce, byId, el } from './dom.js';
import { count, parameters } from './format.js';
import { createHistory } from './history.js';
import { createImagePanel } from './image/panel.js';
import { createKeyDialog } from './key.js';
import { startLayout } from './layout.js';
import { startStatus, tiers } from './status.js';
import { startTheme } from './theme.js';

startLayout();
startTheme();

// Why a question was stopped, if not by its button. An AbortError, as api.js expects of all that stops a request.
const DROPPED = new DOMException('the conversation began anew', 'AbortError');

let model = null; // ModelDescription, once known
let asking = null; // AbortController of the question that is under way

const panel = createImagePanel({ onChange: imagesChanged });
const { images } = panel;
const stage = { selected: () => images.selected, show: panel.showToken, paintSmall: panel.paintSmall };
const answer = createAnswer({ stage, on: { again: askAgain, edit } });
const conversation = createConversation({ onChange: () => composer.refresh() });
const composer = createComposer({
  images,
  earlier: conversation.earlier,
  onAsk: (question) => ask(question),
  onStop: () => asking?.abort(),
});
const history = createHistory({ onShow: showAgain });
const compare = createCompare({ panel, request: compared });

// A conversation goes on with more images, not without those that it is about.
function imagesChanged() {
  const lost = conversation.records.some((record) => !record.images.every(images.has));
  if (lost) beginAnew();
  composer.refresh();
}

// A question that is under way belongs to what was before: it is stopped, and its answer not shown.
function beginAnew() {
  asking?.abort(DROPPED);
  conversation.begin();
  answer.setThread(conversation.kept() ? [] : null);
}

function compared(image, imageOptions) {
  const turns = turnsOf({ question: composer.text(), images: [image], earlier: [] });
  return api.chatBody({ model: model?.name, turns, options: composer.options(), imageOptions });
}

// ---- a question's way

const aborted = (signal) =>
  new Promise((resolve) => {
    signal.addEventListener('abort', resolve);
  });

// Waits until the server has seen the images. Resolves to false if one turned out to be refused, or `signal` aborts.
async function imagesAccepted(signal) {
  const before = images.all.length;
  await Promise.race([panel.settled(), aborted(signal)]);
  if (signal.aborted) return false;
  if (images.all.length >= before) return true;
  announce('Not asked: the image was refused');
  return false;
}

function recordOf(question, earlier) {
  const options = composer.options(),
    imageOptions = panel.options();
  const explained = images.all.length > 0 && composer.wantsRelevance();
  const relevance = explained && !(options.num_beams > 1) && !(imageOptions.token_merging > 0);
  return newRecord({
    question,
    images: [...images.all],
    earlier: [...earlier],
    options,
    imageOptions,
    relevance,
    model: model?.name,
  });
}

async function ask(question, earlier = conversation.earlier()) {
  if (asking) return;
  const own = (asking = new AbortController());
  composer.setBusy(true);
  try {
    if (await imagesAccepted(own.signal)) await answerTo(recordOf(question, earlier), own.signal);
  } finally {
    asking = null;
    composer.setBusy(false);
  }
}

async function answerTo(record, signal) {
  const chat = conversation.kept();
  if (chat) composer.put('');
  await askServer(record, { answer, signal });
  const dropped = signal.reason === DROPPED;
  if (record.error && !dropped) answer.showError(record, record.error);
  else if (!dropped) answer.showWhole(record);
  const whole = record.diptych !== null && !record.error && !dropped;
  if (whole) history.add(record);
  if (whole && chat && record.images.every(images.has)) conversation.add(record);
  else if (chat && composer.text() === '') composer.put(record.question);
}

function askAgain(record) {
  if (asking) return;
  panel.put(record.images);
  ask(record.question, conversation.before(record));
}

function edit(record) {
  panel.put(record.images);
  conversation.edit(record);
  composer.put(record.question, { focus: true });
}

function showAgain(record) {
  panel.put(record.images);
  if (!conversation.kept()) answer.showWhole(record, { silent: true });
  else resume([...record.earlier, record]);
  byId('answer').scrollIntoView({ block: 'nearest' });
}

// ---- the conversation

function resume(records) {
  conversation.resume(records);
  answer.setThread(records);
}

byId('follow').addEventListener('change', () => {
  beginAnew();
  composer.refresh();
});
byId('restart').addEventListener('click', () => {
  beginAnew();
  byId('question').focus();
  announce('A new conversation');
});
byId('editing-cancel').addEventListener('click', () => {
  conversation.edit(null);
  composer.put('', { focus: true });
});

async function restore() {
  if (!(await conversation.restore())) return;
  const { records } = conversation;
  panel.put([...new Set(records.flatMap((record) => record.images))]);
  answer.setThread(records);
}

// ---- what is served

function modelArrived({ model: described, limits }) {
  const changed = model?.name !== described.name;
  model = described;
  panel.setModel(described, limits);
  compare.setModel(described);
  const size = parameters((described.parts ?? []).reduce((sum, part) => sum + Number(part.parameters), 0));
  const words = ` ${size} \u00b7 ${described.dtype} on ${described.device} \u00b7 window ${count(described.window_tokens)}`;
  byId('model-line').replaceChildren(el('strong', {}, described.name), words);
  if (changed) composer.refresh();
}

function keyWanted() {
  byId('key-button').hidden = false;
  byId('model-line').textContent = 'this server asks for a key';
}

const live = startStatus({ onModel: modelArrived, onKeyWanted: keyWanted });
createKeyDialog({
  onKey() {
    live.now();
    composer.refresh();
  },
});
tiers.addEventListener('back', panel.retry);
byId('base-url').textContent = api.addressOf('v1');
restore().then(composer.refresh);
