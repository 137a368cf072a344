// The question, how it is to be answered, and what it will cost of the context window before it is sent.
import * as api from './api.js';
import { budgetBar } from './charts.js';
import { announce, byId, count, debounced, el, plural } from './dom.js';
import { generalQuestions, samples } from './samples.js';

// Request name, field, and what its summary says.
const OPTIONS = [
  ['max_tokens', 'max-tokens', (v) => `at most ${v} tokens`], ['temperature', 'temperature', (v) => `temperature ${v}`],
  ['top_k', 'top-k', (v) => `top-k ${v}`], ['top_p', 'top-p', (v) => `top-p ${v}`], ['num_beams', 'beams', (v) => `${v} beams`],
  ['seed', 'seed', (v) => `seed ${v}`], ['repetition_penalty', 'repetition', (v) => `repetition ${v}`],
];

// image: createImage's. thread(): the turns so far. onAsk(question), onStop().
export function createComposer({ image, thread, onAsk, onStop }) {
  const question = byId('question');
  let planning = null, state = '', known = false;

  function options() {
    const chosen = {};
    for (const [name, id] of OPTIONS) {
      const text = byId(id).value.trim();
      if (text !== '' && Number.isFinite(Number(text))) chosen[name] = Number(text);
    }
    if (byId('stop-text').value !== '') chosen.stop = [byId('stop-text').value];
    return chosen;
  }

  function summarise() {
    const chosen = options();
    byId('generation-summary').textContent = OPTIONS.filter(([name]) => name in chosen).map(([name, , words]) => words(chosen[name])).join(', ');
  }

  function turns() {
    const text = question.value.trim();
    return text === '' && thread().length === 0 ? [] : [...thread(), { role: 'user', text }];
  }

  async function plan() {
    planning?.abort();
    const own = planning = new AbortController();
    const { max_tokens: most } = options();
    // Nothing typed yet after earlier turns: planned with the shortest question, so that what they take is seen.
    const body = { turns: turns().map(({ role, text }) => ({ role: role === 'user' ? 'ROLE_USER' : 'ROLE_ASSISTANT', text: text || '?' })) };
    if (image.current) body.images = [{ height: Math.min(image.current.height, 8192), width: Math.min(image.current.width, 8192) }];
    if (Number.isInteger(most) && most > 0) body.max_new_tokens = most;
    try {
      show((await api.plan(body, own.signal)).windows[0]);
    } catch (error) {
      if (!own.signal.aborted) hide(error);
    }
  }

  function show(window) {
    const { budget } = window, left = budget.remaining - budget.reserved_output;
    const next = left < 0 ? 'over' : left < budget.window * 0.1 ? 'tight' : 'fine';
    const block = byId('budget');
    block.replaceChildren(el('p', { id: 'budget-text', class: 'sr-only' }, advice(next, budget, left) || 'Fits the context window.'),
      budgetBar(budget, { before: true, denseRemaining: window.remaining_dense }));
    if (next !== 'fine') block.append(el('p', { class: `budget-advice advice-${next}`, 'aria-hidden': 'true' }, advice(next, budget, left)));
    if (next !== state && next !== 'fine') announce(advice(next, budget, left));
    state = next;
    known = true;
  }

  function advice(next, budget, left) {
    if (next === 'fine') return '';
    if (next === 'tight') return `Nearly full: ${plural(left, 'token')} left.`;
    const possible = budget.reserved_output + left;
    return `Does not fit: ${plural(-left, 'token')} too many. ` + (possible > 0
      ? `Shorten the question, or lower \u201cMost tokens\u201d to ${count(possible)}.` : 'Shorten the question.');
  }

  function hide(error) {
    if (known && (error.status === 0 || error.status >= 429)) return;  // the last plan is good enough until the server is back
    byId('budget').replaceChildren(el('p', { id: 'budget-text', class: 'muted' },
      error.status === 400 ? error.message : 'The context budget is not known yet.'));
    state = '';
  }

  const planSoon = debounced(200, plan);

  function suggest() {
    const sample = samples.find(({ file }) => file === image.current?.sample);
    const questions = image.current ? (sample?.questions ?? generalQuestions) : [];
    byId('suggestions').replaceChildren(...questions.map((text) =>
      el('button', { type: 'button', class: 'suggestion', onclick: () => { question.value = text; planSoon(); submit(); } }, text)));
  }

  function submit() {
    const text = question.value.trim();
    if (byId('send').disabled) return;
    if (text === '' && (!image.current || thread().length > 0)) {
      announce('Type a question first');
      question.placeholder = thread().length > 0 ? 'A follow-up needs words' : 'Type a question, or take an image first';
      question.focus();
      return;
    }
    onAsk(text);
  }

  byId('composer').addEventListener('submit', (event) => { event.preventDefault(); submit(); });
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
  byId('composer').addEventListener('input', () => { summarise(); planSoon(); });
  byId('stop').addEventListener('click', onStop);

  return {
    options,
    turns,
    wantsRelevance: () => byId('relevance').checked,
    refresh() { suggest(); planSoon(); },
    clear() { question.value = ''; planSoon(); },
    setBusy(busy) {
      byId('send').disabled = busy;
      byId('stop').hidden = !busy;
    },
  };
}
