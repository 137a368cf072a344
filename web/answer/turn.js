// One turn of a conversation: the question as it was asked, the answer in whatever state it is, and what can be done with it.
import { copy, el, notice } from '../dom.js';
import { UNREACHED } from '../api.js';
import { plural } from '../format.js';
import { tokenLine } from './tokens.js';

const hidden = (text) => el('span', { class: 'sr-only' }, text);

function face(image) {
  if (image.blob) return el('img', { class: 'turn-image', src: image.url, alt: image.name, width: 40, height: 40 });
  return el('span', { class: 'turn-image by-address', title: image.url }, image.name);
}

function questionOf(record, images) {
  const words = record.question || el('em', {}, 'caption');
  const faces = images.length > 0 ? el('span', { class: 'turn-images' }, images.map(face)) : null;
  return el('p', { class: 'asked' }, hidden('Question: '), faces, el('span', {}, words));
}

function button(name, onclick, kind = 'quiet small') {
  return el('button', { type: 'button', class: kind, onclick }, name);
}

// on: {again(record), edit(record), details(record)}. stage: as in tokens.js.
export class Turn {
  #body = el('div', { class: 'turn-body' });

  // images: those that this turn brings. chat: it is one of several.
  constructor(record, { images, chat, stage, on }) {
    this.record = record;
    this.#stage = stage;
    this.#on = on;
    this.#chat = chat;
    this.node = el('article', { class: chat ? 'turn turn-chat' : 'turn' }, questionOf(record, images), this.#body);
  }
  #stage;
  #on;
  #chat;

  #show(...nodes) {
    this.#body.replaceChildren(...nodes.filter(Boolean));
  }

  showWaiting() {
    this.said = el('p', { class: 'said streaming' });
    this.progress = el('span', {}, 'waiting for the first token');
    this.elapsed = el('span', { class: 'elapsed' });
    const pulse = el('span', { class: 'pulse', 'aria-hidden': 'true' });
    this.node.setAttribute('aria-busy', 'true');
    this.#show(this.said, el('p', { class: 'waiting muted' }, pulse, this.progress, ' ', this.elapsed));
  }

  showElapsed(seconds) {
    if (this.elapsed) this.elapsed.textContent = `${seconds.toFixed(1)} s`;
  }

  showPiece() {
    this.said.textContent = this.record.text;
    this.progress.textContent = `streaming, ${plural(this.record.entries.length, 'token')}`;
  }

  #actions() {
    const { record } = this;
    const all = [];
    if (record.text) all.push(button('Copy', (event) => copy(record.text, event.currentTarget)));
    if (this.#chat) all.push(button('Details', () => this.#on.details(record)));
    all.push(
      button('Ask again', () => this.#on.again(record)),
      button('Edit', () => this.#on.edit(record)),
    );
    return el('div', { class: 'turn-actions' }, all);
  }

  #end(...nodes) {
    this.node.removeAttribute('aria-busy');
    this.#show(...nodes, this.#actions());
  }

  // live: with its tokens to point at.
  showWhole({ live = true } = {}) {
    const { record } = this;
    const tokens = live && record.entries.length > 0 && record.diptych;
    const plain = () => [hidden('Answer: '), el('p', { class: 'said' }, record.text || '(nothing)')];
    const stopped = record.stopped ? notice('info', 'Stopped.', 'The server stopped its work too.') : null;
    this.#end(...(tokens ? tokenLine(record, this.#stage) : plain()), stopped);
  }

  showError(error) {
    const { record } = this;
    const parameter = error.param ? [', parameter ', el('code', {}, error.param)] : null;
    const code = error.code ? el('p', { class: 'muted' }, 'Code ', el('code', {}, error.code), parameter) : null;
    const said = record.text ? el('p', { class: 'said' }, record.text) : null;
    this.#end(said, notice('error', titleOf(error, record.text !== ''), error.message, code));
  }

  // The notice of a question that waits for its next try.
  showPostponed(node) {
    this.node.removeAttribute('aria-busy');
    this.#show(node);
  }
}

function titleOf(error, begun) {
  if (error.status === UNREACHED) return begun ? 'The answer broke off:' : 'No answer:';
  if (error.status === undefined) return begun ? 'The answer broke off:' : 'Failed:';
  return `${error.status < 500 ? 'Refused' : 'Failed'} (${error.status}):`;
}
