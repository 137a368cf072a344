// The context window as a bar, with its numbers as text.
import { el } from '../dom.js';
import { count, cssPercent, plural } from '../format.js';

// How much is left of a budget, and how that is judged. before: the reserve for the answer is counted, not the answer.
export function leftOf(budget, { before = false } = {}) {
  const left = budget.remaining - (before ? budget.reserved_output : 0);
  return { left, state: left < 0 ? 'over' : left < budget.window * 0.1 ? 'tight' : 'fine' };
}

function partsOf(budget, before) {
  const parts = [
    ['image', budget.image_tokens, 'image'],
    ['text', budget.text_tokens, 'text'],
    ['history', budget.history_tokens, 'earlier turns'],
    ['answer', before ? budget.reserved_output : budget.generated, before ? 'kept for the answer' : 'answer'],
  ];
  return parts.filter(([, tokens]) => tokens > 0);
}

function words(parts, budget, left) {
  const named = parts.flatMap(([kind, tokens, name], i) => [
    i > 0 ? ' + ' : '',
    el('span', { class: `part part-of-${kind}` }, `${count(tokens)} ${name}`),
  ]);
  const end =
    left < 0 ? `; the window has ${count(budget.window)}` : ` of ${count(budget.window)} tokens, ${count(left)} left`;
  const dropped =
    budget.turns_dropped > 0
      ? el('span', { class: 'dropped' }, ` · ${plural(budget.turns_dropped, 'earlier turn')} left out`)
      : null;
  return el('p', { class: 'budget-words' }, el('span', {}, named, end), dropped);
}

// What the images would take if every patch were a token.
function dense(budget, scale, fits) {
  if (budget.dense_patch_tokens <= budget.image_tokens) return null;
  const bar = el('span', {
    class: 'dense-bar',
    vars: { size: cssPercent(Math.min(budget.dense_patch_tokens, scale) / scale) },
  });
  const text = `without the Q-Former, ${count(budget.dense_patch_tokens)} for the image alone${fits ? '' : ', which would not fit'}`;
  return el(
    'p',
    { class: 'dense' },
    el('span', { class: 'dense-track', 'aria-hidden': 'true' }, bar),
    el('span', {}, text),
  );
}

// budget: a ContextBudget, `before` (generated 0, the reserve is counted) or after the answer.
export function budgetBar(budget, { before = false, denseRemaining } = {}) {
  const { left, state } = leftOf(budget, { before });
  const parts = partsOf(budget, before),
    scale = Math.max(budget.window, budget.window - left);
  const bars = parts.map(([kind, tokens]) =>
    el('span', { class: `budget-part part-${kind}`, vars: { size: cssPercent(tokens / scale) } }),
  );
  const limit =
    left < 0 ? el('span', { class: 'budget-limit', vars: { at: cssPercent(budget.window / scale) } }) : null;
  const fits = left < 0 || denseRemaining === undefined || denseRemaining >= (before ? budget.reserved_output : 0);
  return el(
    'div',
    { class: `budget budget-${state}` },
    el('div', { class: 'budget-track', 'aria-hidden': 'true' }, bars, limit),
    words(parts, budget, left),
    dense(budget, scale, fits),
  );
}
