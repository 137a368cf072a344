// The maps of where the model looks: a button for each, to pass over or to keep.
import { byId, el, roving } from '../dom.js';
import { describe, gridOf, paintTile } from './heat.js';

function mapsOf(analysis) {
  const maps = [];
  if (analysis?.cls_attention)
    maps.push(['CLS', 'CLS, the class token in the last vision layer', analysis.cls_attention]);
  if (analysis?.mean_query_attention)
    maps.push(['Mean', 'Mean of all Q-Former queries', analysis.mean_query_attention]);
  (analysis?.query_attention ?? []).forEach((map, i) => maps.push([`${i + 1}`, `Q-Former query ${i + 1}`, map]));
  return maps.map(([short, label, map]) => ({ short, label, grid: gridOf(map) }));
}

// onChange: called when another map is to be shown.
export function createMaps({ onChange }) {
  const box = byId('maps');
  let kept = null,
    passing = null;

  const pass = (map) => () => {
    passing = map;
    onChange();
  };

  function button(map) {
    const tile = el('canvas', { class: 'tile', 'aria-hidden': 'true' });
    paintTile(tile, map.grid);
    const listeners = { onpointerenter: pass(map), onpointerleave: pass(null), onfocus: pass(map), onblur: pass(null) };
    const item = {
      type: 'button',
      class: 'map',
      'data-item': '',
      tabindex: '-1',
      'aria-pressed': String(kept === map),
    };
    const name = `${map.label}: ${describe(map.grid)}`;
    const toggle = (event) => keep(kept === map ? null : map, event.currentTarget);
    return el(
      'button',
      { ...item, 'aria-label': name, ...listeners, onclick: toggle },
      tile,
      el('span', { class: 'map-name' }, map.short),
    );
  }

  function keep(map, pressed) {
    kept = map;
    if (!map) passing = null;
    for (const other of box.children) other.setAttribute('aria-pressed', String(map !== null && other === pressed));
    onChange();
  }

  box.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') keep(null);
  });

  return {
    current: () => passing ?? kept,
    passing: () => passing,
    // Shows the maps of `analysis`, or none; the kept one stays if there is one of its name.
    show(analysis) {
      const maps = mapsOf(analysis);
      kept = maps.find(({ label }) => label === kept?.label) ?? null;
      passing = null;
      byId('maps-block').hidden = maps.length === 0;
      box.replaceChildren(...maps.map(button));
      roving(box);
    },
  };
}
