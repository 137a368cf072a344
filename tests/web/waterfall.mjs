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

test('stages before the first token follow each other, those after it begin there, sums are marked', async (t) => {
  const page = await open(t);
  const rows = await layOut(page, {
    tokenize: 1,
    vit: 3,
    prefill: 2,
    decode: 4,
    language_queue: 0.5,
    total: 12,
    time_to_first_token: 7,
  });
  near(rows.vit.from, 1);
  near(rows.prefill.from, 4);
  near(rows.decode.from, 7);
  assert.deepEqual(
    [rows.tokenize, rows.vit, rows.prefill].map(({ summed }) => summed),
    [false, false, false],
  );
  assert.deepEqual(
    [rows.decode, rows.language_queue, rows.gateway].map(({ summed }) => summed),
    [true, true, true],
  );
});

test('no bar leaves the total, and a stage that the page does not know is drawn by its name', async (t) => {
  const page = await open(t);
  const timings = {
    prefill: 1,
    decode: 9,
    moon_phase: 2,
    total: 12,
    time_to_first_token: 11,
    decode_tokens_per_second: 3,
    cache_hits: { kv_prefix: 0 },
  };
  const rows = await layOut(page, timings);
  for (const { from, seconds } of Object.values(rows)) assert.ok(from >= 0 && from + seconds <= 12 + 1e-9);
  assert.equal(rows.moon_phase.name, 'Moon phase');
  assert.equal(rows.moon_phase.summed, true);
  assert.equal('cache_hits' in rows || 'total' in rows || 'decode_tokens_per_second' in rows, false);
});

test('every stage of a real answer has a row, and the image stays in sight beside them', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await analysed(page);
  await ask(page, '');
  const [timings] = await Promise.all([
    page.waitForResponse('**/v1/chat/completions').then(async (response) => {
      const events = (await response.text()).split('\n\n').filter((event) => event.includes('"timings"'));
      return JSON.parse(events[0].slice(6)).diptych.timings;
    }),
    answered(page),
  ]);
  const stages = Object.entries(timings).filter(
    ([name, value]) => typeof value === 'number' && !/^(total|time_to|decode_tokens)/.test(name),
  );
  assert.ok(stages.length >= 12);
  const rows = await layOut(page, timings);
  for (const [name, seconds] of stages) near(rows[name].seconds, seconds);
  await page.locator('.waterfall tfoot').scrollIntoViewIfNeeded();
  const stage = await page.evaluate(() => document.getElementById('stage').getBoundingClientRect().toJSON());
  assert.ok(stage.top >= 0 && stage.bottom <= 900, JSON.stringify(stage));
});
