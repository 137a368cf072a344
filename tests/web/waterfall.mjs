// The times of the stages as the page draws them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { analysed, answered, ask, open, takeSample } from './browser.mjs';

// The rows that the page makes of `timings`, by name.
const layOut = (page, timings) =>
  page.evaluate(async (given) => {
    const { layOut: rows } = await import('/playground/answer/waterfall.js');
    return Object.fromEntries(rows(given).map((row) => [row.key, row]));
  }, timings);

const near = (actual, wanted) => assert.ok(Math.abs(actual - wanted) < 1e-9, `${actual} is not ${wanted}`);

const from = (row) => row.pieces[0][0];

test('stages before the first token follow each other, those after it begin there, sums are marked', async (t) => {
  const page = await open(t);
  const rows = await layOut(page, {
    ...{ gateway: 1.5, tokenize: 1, vit: 3, language_queue: 0.5, prefill: 2 }, // to 7.5, with half a second of gateway behind
    ...{ decode: 3, decode_queue: 0.5, detokenize: 0.25, delivery: 0.25, relevance: 2 },
    ...{ first_token: 7.5, time_to_first_token: 7.6, total: 14 },
  });
  assert.deepEqual(rows.gateway.pieces, [
    [0, 1],
    [13.5, 0.5],
  ]);
  near(from(rows.tokenize), 1);
  near(from(rows.vit), 2);
  near(from(rows.prefill), 5.5);
  near(from(rows.decode), 7.5);
  near(from(rows.delivery), 11.25);
  near(from(rows.relevance), 11.5);
  const marked = Object.values(rows)
    .filter(({ summed }) => summed)
    .map(({ key }) => key);
  const sums = [
    'token_transfer',
    'vision_queue',
    'language_queue',
    'decode',
    'decode_queue',
    'detokenize',
    'delivery',
    'unattributed',
  ];
  assert.deepEqual(marked, sums);
});

test('no bar leaves the total, and a stage that the page does not know is drawn by its name', async (t) => {
  const page = await open(t);
  const numbers = { total: 12, time_to_first_token: 11, decode_tokens_per_second: 3 };
  const rows = await layOut(page, { prefill: 1, decode: 9, moon_phase: 2, ...numbers, cache_hits: { kv_prefix: 0 } });
  for (const { pieces } of Object.values(rows)) {
    for (const [begin, seconds] of pieces) assert.ok(begin >= 0 && begin + seconds <= 12 + 1e-9);
  }
  assert.equal(rows.moon_phase.name, 'Moon phase');
  assert.equal(rows.moon_phase.summed, true);
  assert.equal('cache_hits' in rows || 'total' in rows || 'decode_tokens_per_second' in rows, false);
  assert.equal('relevance' in rows, false); // a server that does not tell it
});

test('every stage of a real answer has a row, and the image stays in sight beside them', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await analysed(page);
  const [timings] = await Promise.all([
    page.waitForResponse('**/v1/chat/completions').then(async (response) => {
      const events = (await response.text()).split('\n\n').filter((event) => event.includes('"timings"'));
      return JSON.parse(events[0].slice(6)).diptych.timings;
    }),
    ask(page, '').then(() => answered(page)),
  ]);
  const stages = Object.entries(timings).filter(
    ([name, value]) => typeof value === 'number' && !/^(total|first_token|time_to|decode_tokens|resumed)/.test(name),
  );
  assert.ok(stages.length >= 12);
  const rows = await layOut(page, timings);
  for (const [name, seconds] of stages) near(rows[name].seconds, seconds);
  await page.locator('.waterfall tfoot').scrollIntoViewIfNeeded();
  const stage = await page.evaluate(() => document.getElementById('stage').getBoundingClientRect().toJSON());
  assert.ok(stage.top >= 0 && stage.bottom <= 900, JSON.stringify(stage));
});
