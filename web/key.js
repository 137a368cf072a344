// The API key: asked for when the server needs one, kept in this page's memory only.
import * as api from './api.js';
import { byId } from './dom.js';

// onKey: called when there is another key.
export function createKeyDialog({ onKey }) {
  const dialog = byId('key-dialog'),
    field = byId('key');
  let asked = null; // the promise of the dialog that is open

  function ended(resolve) {
    asked = null;
    const used = dialog.returnValue === 'use' && field.value.trim() !== '';
    if (used) {
      api.setKey(field.value.trim());
      onKey();
    }
    field.value = '';
    resolve(used);
  }

  function open(resolve) {
    byId('key-button').hidden = false;
    byId('key-title').textContent = api.hasKey() ? 'Another key' : 'This server asks for a key';
    field.value = dialog.returnValue = '';
    dialog.showModal();
    dialog.addEventListener('close', () => ended(resolve), { once: true });
  }

  const want = () => (asked ??= new Promise(open));
  api.whenKeyWanted(want);
  byId('key-button').addEventListener('click', want);
  byId('key-cancel').addEventListener('click', () => dialog.close(''));
}
