// The question, how it is to be answered, and what it will cost of the context window before it is sent.
import { budgetBar, leftOf } from './answer/budget_bar.js';
import { turnsOf } from './answer/record.js';
import * as api from './api.js';
import { announce, byId, debounced, el, isOff, keepHeight, setOff } from './dom.js';
import { count, plural } from './format.js';
import { generalQuestions, samples } from './image/samples.js';

// Request name, field, and what its summary says.
const OPTIONS = [
  ['max_tokens', 'max-tokens', (v) => `at most ${v} tokens`],
  ['temperature', 'temperature', (v) => `temperature ${v}`],
  ['top_k', 'top-k', (v) => `top-k ${v}`],
  ['top_p', 'top-p', (v) => `top-p ${v}`],
  ['num_beams', 'beams', (v) => `${v} beams`],
  ['seed', 'seed', (v) => `seed ${v}`],
  ['repetition_penalty', 'repetition', (v) => `repetition ${v}`],
];
const MOST_PLANNED_SIDE = 8192;

function chosenOptions() {
  const chosen = {};
  for (const [name, id] of OPTIONS) {
    const text = byId(id).value.trim();
    if (text !== '' && Number.isFinite(Number(text))) chosen[name] = Number(text);
  }
  if (byId('stop-text').value !== '') chosen.stop = [byId('stop-text').value];
  return chosen;
}

function advice(budget) {
  const { left, state } = leftOf(budget, { before: true });
  if (state === 'fine') return '';
  if (state === 'tight') return `Nearly full: room for an answer of ${plural(budget.reserved_output, 'token')}.`;
  return `Does not fit: ${plural(-left, 'token')} too many. Shorten the question.`;
}

// images: Images. earlier(): the records before the question. onAsk(question), onStop().
export function createComposer({ images, earlier, onAsk, onStop }) {
  const question = byId('question');
  let planning = null,
    state = '',
    known = false,
    suggested = ''; // the questions on the buttons, one a line

  function summarise() {
    const chosen = chosenOptions();
    byId('generation-summary').textContent = OPTIONS.filter(([name]) => name in chosen)
      .map(([name, , words]) => words(chosen[name]))
      .join(', ');
  }

  // ---- the plan

  function planBody() {
    const turns = turnsOf({ question: question.value.trim(), images: images.all, earlier: earlier() });
    const planned = turns.filter(({ text }) => text !== '');
    const shown = [...new Set(turns.flatMap((turn) => turn.images))].filter(({ width }) => width > 0);
    const side = (pixels) => Math.min(pixels, MOST_PLANNED_SIDE);
    const body = {
      cut_max_new_tokens: true, // as chats are
      turns: planned.map(({ role, text }) => ({ role: role === 'user' ? 'ROLE_USER' : 'ROLE_ASSISTANT', text })),
    };
    if (shown.length > 0)
      body.images = shown.map(({ width, height }) => ({ width: side(width), height: side(height) }));
    const { max_tokens: most } = chosenOptions();
    if (Number.isInteger(most) && most > 0) body.max_new_tokens = most;
    return body;
  }

  async function plan() {
    planning?.abort();
    const own = (planning = new AbortController());
    try {
      const { windows } = await api.plan(planBody(), own.signal);
      if (!own.signal.aborted) show(windows[0]);
    } catch (error) {
      if (!own.signal.aborted) hide(error);
    }
  }

  function show({ budget, remaining_dense: denseRemaining }) {
    const next = leftOf(budget, { before: true }).state,
      words = advice(budget);
    const spoken = el('p', { id: 'budget-text', class: 'sr-only' }, words || 'Fits the context window.');
    const seen = words === '' ? [] : [el('p', { class: `budget-advice advice-${next}`, 'aria-hidden': 'true' }, words)];
    byId('budget').replaceChildren(spoken, budgetBar(budget, { before: true, denseRemaining }), ...seen);
    if (next !== state && words !== '') announce(words);
    state = next;
    known = true;
  }

  function hide(error) {
    if (known && !error.refused) return; // the last plan is good enough until the server is back
    const words = error.refused && error.status === 400 ? error.message : 'The context budget is not known yet.';
    byId('budget').replaceChildren(el('p', { id: 'budget-text', class: 'muted' }, words));
    state = '';
  }

  const planSoon = debounced(200, plan);

  // ---- asking

  function suggest() {
    const sample = samples.find(({ file }) => file === images.selected?.sample);
    const questions = images.all.length > 0 ? (sample?.questions ?? generalQuestions) : [];
    const shown = questions.join('\n');
    if (shown === suggested) return; // the focus may be on one of them
    suggested = shown;
    const put = (text) => {
      question.value = text;
      planSoon();
      submit();
    };
    const button = (text) => el('button', { type: 'button', class: 'suggestion', onclick: () => put(text) }, text);
    byId('suggestions').replaceChildren(...questions.map(button));
  }

  function submit() {
    const text = question.value.trim(),
      follows = earlier().length > 0;
    if (isOff(byId('send'))) return;
    const shown = turnsOf({ question: text, images: images.all, earlier: earlier() }).at(-1).images;
    if (text !== '' || shown.length > 0) {
      onAsk(text);
      return;
    }
    announce('Type a question first');
    question.placeholder = follows ? 'A follow-up needs words' : 'Type a question, or choose an image first';
    question.focus();
  }

  byId('composer').addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  question.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  document.addEventListener('keydown', (event) => {
    const typing = event.target.closest('input, textarea, select, dialog');
    if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    question.focus();
  });
  byId('composer').addEventListener('input', () => {
    summarise();
    planSoon();
  });
  byId('stop').addEventListener('click', onStop);
  keepHeight(byId('budget'));

  return {
    options: chosenOptions,
    text: () => question.value.trim(),
    wantsRelevance: () => byId('relevance').checked,
    refresh() {
      suggest();
      planSoon();
    },
    put(text, { focus = false } = {}) {
      question.value = text;
      if (focus) question.focus();
      planSoon();
    },
    setBusy(busy) {
      setOff(byId('send'), busy);
      if (!busy && document.activeElement === byId('stop')) byId('send').focus();
      byId('stop').disabled = !busy;
    },
  };
}
