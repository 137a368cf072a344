// The conversation, if it is kept: its records in order, which one is being edited, and its copy in this browser.
import { forget, load, store } from './conversation_store.js';
import { byId } from './dom.js';

// onChange: called when the records before the next question are others.
export function createConversation({ onChange }) {
  let records = [],
    edited = null;

  const kept = () => byId('follow').checked;

  function show() {
    byId('restart').hidden = records.length === 0;
    byId('editing').hidden = edited === null;
    onChange();
  }

  function edit(record) {
    edited = kept() && records.includes(record) ? record : null;
    show();
  }

  function begin() {
    records = [];
    edited = null;
    forget();
    show();
  }

  return {
    kept,
    edit,
    begin,
    get records() {
      return records;
    },
    // Those before the next question.
    earlier: () => (edited ? edited.earlier : records),
    // Those before `record` if it is asked again.
    before: (record) => (records.includes(record) ? record.earlier : records),
    add(record) {
      if (!kept()) return;
      records = [...record.earlier, record];
      edited = null;
      store(records);
      show();
    },
    // Resolves to true if there was one to go on with.
    async restore() {
      const restored = await load();
      if (restored.length === 0) return false;
      byId('follow').checked = true;
      records = restored;
      show();
      return true;
    },
    resume(all) {
      records = all;
      edited = null;
      store(records);
      show();
    },
  };
}
