// A question that the server cannot take now: counted down and asked again, or kept until the tiers serve again.
import { UNREACHED } from '../api.js';
import { announce, el } from '../dom.js';
import { tiers } from '../status.js';

const SHORTEST = 0.5; // seconds

function titleOf({ status }) {
  if (status === UNREACHED) return 'Not reached:';
  return status === 429 ? 'The server is full:' : 'Not available now:';
}

// Shows the notice through `show(node)`. Resolves to true when it is time to ask again, to false if the person gives up or `signal` aborts.
// Without `automatic` it waits for a click, or for the tiers.
export function waitForNextTry(error, { automatic, signal, show }) {
  return new Promise((resolve) => {
    const due = performance.now() + Math.max(error.retryAfter, SHORTEST) * 1000;
    const left = () => `${Math.max(0, Math.ceil((due - performance.now()) / 1000))} s`;
    const countdown = el('strong', { class: 'countdown', role: 'timer' }, left());
    const ticking = automatic ? setInterval(tick, 200) : 0;

    function end(again) {
      clearInterval(ticking);
      tiers.removeEventListener('back', goOn);
      signal.removeEventListener('abort', giveUp);
      resolve(again);
    }
    const goOn = () => end(true),
      giveUp = () => end(false);
    function tick() {
      countdown.textContent = left();
      if (performance.now() >= due) goOn();
    }

    const kept = 'Asked several times. The question is kept, and asked again once the tiers are back.';
    const next = automatic ? el('p', {}, 'Asks again in ', countdown) : el('p', {}, kept);
    const now = el('button', { type: 'button', onclick: goOn }, 'Ask now');
    const stop = el('button', { type: 'button', class: 'quiet', onclick: giveUp }, 'Give up');
    const words = el('p', {}, el('strong', {}, titleOf(error)), ` ${error.message}`);
    show(
      el('div', { class: 'notice notice-warning refused' }, words, next, el('p', { class: 'card-actions' }, now, stop)),
    );
    announce(`${error.message}. ${automatic ? `Asks again in ${left()}` : kept}`);
    tiers.addEventListener('back', goOn);
    signal.addEventListener('abort', giveUp);
  });
}
