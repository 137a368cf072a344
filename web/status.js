// The live strip: what each tier does now.
import * as api from './api.js';
import { announce, byId, keepHeight } from './dom.js';
import { count, milliseconds } from './format.js';
import { sparkline } from './sparkline.js';
import { fact, factsOf, tierCard } from './tier_card.js';

const EVERY = 2000; // milliseconds between two looks
const KEPT = 60; // looks in a sparkline
const PATIENCE = 5000;

// Fires 'back' when all tiers serve again.
export const tiers = new EventTarget();

// onModel: called with the GetModelResponse whenever it comes. onKeyWanted: called when the server asks for a key; no look follows
// until now() is called.
export function startStatus({ onModel, onKeyWanted }) {
  const busy = { vision: [], language: [] };
  let health = '',
    serving = null;

  function show(answer, seconds) {
    const cards = [
      tierCard('gateway', 'good', 'serving', [
        fact('answers in', milliseconds(seconds)),
        fact('version', answer.version || '\u2013'),
        fact('max in flight', count(answer.limits?.max_inflight ?? 0)),
      ]),
    ];
    for (const tier of [...(answer.tiers ?? [])].reverse()) {
      const series = busy[tier.name] ?? [];
      series.push(tier.serving ? (tier.load?.running ?? 0) + (tier.load?.waiting ?? 0) : 0);
      if (series.length > KEPT) series.shift();
      cards.push(
        tier.serving
          ? tierCard(tier.name, 'good', 'serving', factsOf(tier), sparkline(series, KEPT))
          : tierCard(tier.name, 'bad', tier.error || 'does not answer', []),
      );
    }
    byId('tiers').replaceChildren(...cards);
    const all = answer.tiers ?? [],
      good = all.every((tier) => tier.serving);
    const sum = (name) => all.reduce((total, { load }) => total + (load?.[name] ?? 0), 0);
    summarise(good, good ? `${count(sum('running'))} running, ${count(sum('waiting'))} waiting` : '');
    tell(good ? 'All tiers serve' : 'A tier does not answer', good);
  }

  function summarise(good, load) {
    byId('strip-words').textContent = good ? 'All tiers serve' : 'Not all tiers serve';
    byId('strip-load').textContent = load;
    byId('strip').classList.toggle('strip-bad', !good);
  }

  function showError(error) {
    const refused = error.status === 401 || error.status === 403;
    const cards = [
      tierCard(
        'gateway',
        error.status === 0 ? 'bad' : refused ? 'unknown' : 'good',
        error.status === 0 ? 'not reachable' : refused ? 'asks for a key' : 'serving',
        [],
      ),
    ];
    if (error.status === 503) {
      // the gateway answers for all of them through the language tier
      cards.push(
        tierCard('vision', 'unknown', 'not known meanwhile', []),
        tierCard('language', 'bad', 'does not answer', []),
      );
    }
    byId('tiers').replaceChildren(...cards);
    summarise(false, '');
    tell(error.status === 0 ? 'The gateway is not reachable' : error.message, false);
  }

  function tell(words, good) {
    if (health !== '' && health !== words) announce(words);
    if (good && serving === false) tiers.dispatchEvent(new Event('back'));
    health = words;
    serving = good;
  }

  async function look() {
    const began = performance.now(),
      limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), PATIENCE);
    try {
      const answer = await api.status(limit.signal);
      show(answer, (performance.now() - began) / 1000);
      onModel(answer);
    } catch (error) {
      showError(error instanceof api.ApiError ? error : new api.ApiError(0, { message: 'no answer' }));
      if (error.status === 401) {
        waiting = true;
        onKeyWanted();
      }
    } finally {
      clearTimeout(timer);
    }
  }

  let timer = 0,
    looking = false,
    waiting = false;
  async function loop() {
    if (looking || waiting) return;
    looking = true;
    clearTimeout(timer);
    if (!document.hidden) await look();
    looking = false;
    timer = setTimeout(loop, EVERY);
  }
  keepHeight(byId('tiers'));
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) loop();
  });
  loop();
  return {
    now() {
      waiting = false;
      loop();
    },
  };
}
