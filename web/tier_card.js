// The card of one tier in the live strip.
import { el } from './dom.js';
import { count, percent } from './format.js';

const TITLES = { vision: 'Vision', language: 'Language' };
const CACHES = { vision_tokens: 'visual tokens', projected_tokens: 'query tokens', kv_prefix: 'KV prefix' };

export const fact = (name, value, extra) =>
  el('div', { class: 'fact' }, el('dt', {}, name), el('dd', {}, value, extra ?? null));

// One tier: its name, how it is, what it does.
export function tierCard(name, state, words, facts, chart) {
  return el(
    'article',
    { class: `tier tier-${name} tier-${state}`, 'aria-label': `${name} tier: ${words}` },
    el(
      'div',
      { class: 'tier-head' },
      el('span', { class: 'dot', 'aria-hidden': 'true' }),
      el('h3', {}, TITLES[name] ?? 'Gateway'),
      el('span', { class: 'tier-words' }, words),
      chart ?? null,
    ),
    el('dl', { class: 'facts' }, facts),
  );
}

function kvMeter(share) {
  return el(
    'span',
    { class: 'meter', 'aria-hidden': 'true' },
    el('span', { class: 'meter-fill', vars: { size: `${Math.min(share * 100, 100).toFixed(1)}%` } }),
  );
}

// What a TierStatus tells of a serving tier.
export function factsOf(tier) {
  const load = tier.load ?? {};
  const facts = [fact('running', count(load.running ?? 0)), fact('queue', count(load.waiting ?? 0))];
  if (!load.caches?.length) return facts; // where callers have keys, no more is told
  facts.push(fact('mean batch', (load.mean_batch_size ?? 0).toFixed(1)));
  if (tier.name === 'language')
    facts.push(fact('KV cache', percent(load.kv_cache_usage ?? 0), kvMeter(load.kv_cache_usage ?? 0)));
  for (const cache of load.caches ?? []) {
    const queries = Number(cache.queries),
      hits = Number(cache.hits);
    facts.push(fact(`${CACHES[cache.name] ?? cache.name} hits`, queries > 0 ? percent(hits / queries) : '\u2013'));
  }
  return facts;
}
