// What an answer cost: figures, the waterfall, the context window, and the request to take along.
import { el } from '../dom.js';
import { count, milliseconds, plural } from '../format.js';
import { budgetBar } from './budget_bar.js';
import { takeAlong } from './take_along.js';
import { waterfall } from './waterfall.js';

const FINISH = { stop: 'ended by itself', length: 'cut at Max tokens' };

function figure(name, value, extra, wide) {
  const more = extra ? el('span', { class: 'muted' }, extra) : null;
  return el('div', { class: wide ? 'figure figure-wide' : 'figure' }, el('dt', {}, name), el('dd', {}, value, more));
}

function cachesOf({ cache_hits: hits = {} }) {
  const found = [
    hits.vision_tokens > 0 && 'visual tokens',
    hits.projected_tokens > 0 && 'query tokens',
    hits.kv_prefix > 0 && plural(hits.kv_prefix, 'KV token'),
  ].filter(Boolean);
  return found.length > 0 ? found.join(', ') : 'nothing';
}

function figures({ diptych: { timings }, usage, finish }) {
  const rate = timings.decode_tokens_per_second;
  return el(
    'dl',
    { class: 'figures' },
    figure('Total', milliseconds(timings.total)),
    figure('First token', milliseconds(timings.time_to_first_token)),
    rate > 0 ? figure('Then', count(Math.round(rate)), ' tokens/s') : figure('Then', '\u2013'),
    usage ? figure('Tokens', `${count(usage.prompt_tokens)} \u2192 ${count(usage.completion_tokens)}`) : null,
    figure('From caches', cachesOf(timings), null, true),
    figure('End', FINISH[finish] ?? finish ?? '\u2013', null, true),
  );
}

export function measures(record) {
  const { timings, context_budget: budget } = record.diptych ?? {};
  return [
    ...(timings ? [figures(record), waterfall(timings)] : []),
    ...(budget ? [el('h3', { class: 'block-title' }, 'Context window'), budgetBar(budget)] : []),
    ...takeAlong(record),
  ];
}
