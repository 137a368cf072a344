// Where answers appear: one card under the question, or, while the conversation is kept, a thread above it with the measures below.
import { announce, byId, el, keepingFocus } from '../dom.js';
import { milliseconds } from '../format.js';
import { measures } from './measures.js';
import { waitForNextTry } from './postponed.js';
import { turnsOf } from './record.js';
import { Turn } from './turn.js';

const ANNOUNCE_EVERY = 1500; // milliseconds between two pieces of a stream that are read out
const IN_SIGHT = 40; // pixels from the thread's end, within which a reader counts as following it

// stage: as in tokens.js. on: as in turn.js, without details.
export function createAnswer({ stage, on }) {
  const card = byId('answer'),
    thread = byId('thread');
  let chat = false,
    turn = null,
    turns = [],
    ticking = 0,
    saidUntil = 0,
    saidAt = 0;
  const callbacks = { ...on, details: (record) => showMeasures(record, { scroll: true }) };

  const held =
    (change) =>
    (...given) =>
      keepingFocus([card, thread], () => change(...given));

  function showEmpty() {
    const text = 'Each answer comes with the time of its stages and with what it took of the context window.';
    const empty = el(
      'div',
      { class: 'empty' },
      el('p', {}, el('strong', {}, 'No answer yet')),
      el('p', { class: 'muted' }, text),
    );
    card.replaceChildren(...(chat && turns.length > 0 ? [] : [empty]));
  }

  function quiet() {
    clearInterval(ticking);
    stage.show(null);
  }

  const turnOf = (record) => new Turn(record, { images: turnsOf(record).at(-1).images, chat, stage, on: callbacks });
  const newestInSight = () => {
    thread.scrollTop = thread.scrollHeight;
  };

  // Changes what is shown of the newest turn. It stays in sight for whoever has it in sight; who reads an earlier turn goes on reading.
  function following(change) {
    const behind = thread.scrollHeight - thread.clientHeight - thread.scrollTop;
    change();
    if (chat && behind <= IN_SIGHT) newestInSight();
  }

  // Puts a new turn for `record` on the page: after those of `record.earlier`, or alone.
  function place(record) {
    quiet();
    turn = turnOf(record);
    if (!chat) return card.replaceChildren(el('div', { class: 'card', 'aria-busy': 'true' }, turn.node));
    turns = turns.filter((other) => record.earlier.includes(other.record));
    turns.at(-1)?.showWhole({ live: false });
    turns.push(turn);
    thread.replaceChildren(...turns.map(({ node }) => node));
    card.replaceChildren();
    return newestInSight();
  }

  function showMeasures(record, { scroll = false } = {}) {
    const head = chat
      ? [el('h3', { class: 'measured' }, 'About the answer to \u201c', record.question || 'caption', '\u201d')]
      : [];
    const box = el('div', { class: 'card' }, ...(chat ? head : [turn.node]), ...measures(record));
    card.replaceChildren(box);
    if (scroll) box.scrollIntoView({ block: 'start', behavior: 'smooth' });
  }

  function showWaiting(record) {
    const asked = turn?.record !== record; // and not tried again, when the person may have scrolled on
    if (asked) place(record);
    else quiet();
    following(() => turn.showWaiting());
    if (asked) turn.node.scrollIntoView({ block: 'nearest' });
    const began = performance.now(),
      shown = turn;
    ticking = setInterval(() => shown.showElapsed((performance.now() - began) / 1000), 100);
    saidUntil = 0;
    saidAt = performance.now();
    announce('Asked');
  }

  function showPiece(record) {
    if (turn?.record !== record) return; // another answer is looked at meanwhile
    following(() => turn.showPiece());
    if (performance.now() - saidAt < ANNOUNCE_EVERY) return;
    announce(record.text.slice(saidUntil));
    saidUntil = record.text.length;
    saidAt = performance.now();
  }

  function showWhole(record, { silent = false } = {}) {
    if (turn?.record !== record) place(record);
    quiet();
    following(() => {
      turn.showWhole();
      showMeasures(record);
    });
    if (silent) return;
    const time = record.diptych ? `. Answered in ${milliseconds(record.diptych.timings.total)}` : '';
    announce(record.stopped ? 'Stopped' : `${record.text.slice(saidUntil) || 'Nothing'}${time}`);
  }

  function showError(record, error) {
    if (turn?.record !== record) place(record);
    quiet();
    following(() => turn.showError(error));
    card.querySelector('.card')?.removeAttribute('aria-busy');
    announce(`Error: ${error.message}`);
  }

  // Resolves as waitForNextTry.
  function postpone(record, error, how) {
    quiet();
    const show = held((node) => {
      if (turn?.record !== record) place(record);
      following(() => turn.showPostponed(node));
    });
    return waitForNextTry(error, { ...how, show });
  }

  // Shows the conversation `records` as a thread, or none with null.
  function setThread(records) {
    quiet();
    chat = records !== null;
    turns = (records ?? []).map(turnOf);
    turn = turns.at(-1) ?? null;
    turns.forEach((other, i) => other.showWhole({ live: i === turns.length - 1 }));
    thread.hidden = !chat;
    byId('words').classList.toggle('chatting', chat);
    const empty = el(
      'p',
      { class: 'thread-empty muted' },
      'The conversation appears here. It is kept in this browser until you begin a new one.',
    );
    thread.replaceChildren(...(turns.length > 0 ? turns.map(({ node }) => node) : chat ? [empty] : []));
    showEmpty();
    if (turns.length > 0) showMeasures(turns.at(-1).record);
    newestInSight();
  }

  showEmpty();
  return {
    showWaiting: held(showWaiting),
    showPiece,
    showWhole: held(showWhole),
    showError: held(showError),
    postpone,
    setThread,
  };
}
