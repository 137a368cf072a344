// Light or dark: as the system has it, or as chosen.
import { byId } from './dom.js';

const CHOICES = new Set(['light', 'dark']);

function apply(theme) {
  if (CHOICES.has(theme)) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function remembered() {
  try {
    return localStorage.getItem('theme');
  } catch {
    return null;
  }
}

function remember(theme) {
  try {
    localStorage.setItem('theme', theme);
  } catch {
    /* kept for this page only */
  }
}

export function startTheme() {
  const theme = remembered();
  apply(theme);
  document.querySelector(`input[name=theme][value="${CHOICES.has(theme) ? theme : 'system'}"]`).checked = true;
  byId('theme').addEventListener('change', ({ target }) => {
    apply(target.value);
    remember(target.value);
  });
}
