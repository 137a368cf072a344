// The order of the page: on a narrow screen the question comes right after the image, and the tiers are folded.
import { byId } from './dom.js';

export function startLayout() {
  const narrow = matchMedia('(max-width: 960px)');
  const place = () => {
    const looks = byId('looks');
    if (narrow.matches) byId('words').after(looks);
    else byId('left').append(looks);
    byId('strip').open = !narrow.matches;
  };
  narrow.addEventListener('change', place);
  place();
}
