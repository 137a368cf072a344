// What cannot be answered now, or at all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  LANGUAGE_PID,
  ORIGIN,
  analysed,
  announced,
  answered,
  ask,
  audit,
  open,
  said,
  shoot,
  takeSample,
} from './browser.mjs';

test('an answer can be stopped, and a full server is asked again after a countdown', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await analysed(page);
  const body = JSON.stringify({ messages: [{ role: 'user', content: 'hello' }], max_tokens: 4 });
  const pause = () =>
    new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  const running = async () =>
    Number(/^diptych_requests_running (\d+)/m.exec(await (await fetch(`${ORIGIN}/metrics`)).text())[1]);
  process.kill(Number(LANGUAGE_PID), 'SIGSTOP');
  let held = [];
  try {
    await ask(page, 'What color is the circle?');
    while ((await running()) < 1) await pause();
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.waitForSelector('.card .notice-info');
    while ((await running()) > 0) await pause(); // the server stopped too
    held = Array.from({ length: 4 }, () =>
      fetch(`${ORIGIN}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body }),
    );
    while ((await running()) < 4) await pause();
    await ask(page, 'What color is the circle?');
    await page.waitForSelector('.refused .countdown');
    assert.match(await page.locator('.refused').textContent(), /The server is full:.*Asks again in \d+ s/s);
    await announced(page, 'Asks again in');
    await page.waitForSelector('.tier-bad'); // the strip tells that the language tier stands still
    await page.waitForSelector('.refused .countdown');
    await audit(page, 'refused for now');
    await shoot(page, 'playground-refused');
  } finally {
    process.kill(Number(LANGUAGE_PID), 'SIGCONT');
  }
  await Promise.all(held);
  await answered(page);
  assert.equal(await said(page), 'red');
  await page.waitForSelector('.tier-language.tier-good', { state: 'attached' });
});

test('without the server the page says so and can give up', async (t) => {
  const page = await open(t);
  await page.context().setOffline(true);
  await page.waitForSelector('.tier-gateway.tier-bad');
  await ask(page, 'hello');
  await page.waitForSelector('.refused');
  await page.getByRole('button', { name: 'Give up' }).click();
  await page.waitForSelector('.card .notice-error');
  assert.match(await page.locator('.card .notice-error').textContent(), /No answer:.*gateway/s);
  await page.context().setOffline(false);
  await page.waitForSelector('.tier-gateway.tier-good');
});

test('a question is asked again by itself when the server is back', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await analysed(page);
  await page.context().setOffline(true);
  await page.waitForSelector('.tier-gateway.tier-bad');
  await ask(page, 'What color is the circle?');
  await page.waitForSelector('.refused .countdown');
  await page.context().setOffline(false);
  await answered(page);
  assert.equal(await said(page), 'red');
});

test('a question that was tried often enough waits for the tiers, and is asked when they are back', async (t) => {
  const page = await open(t);
  let down = true;
  const unavailable = {
    status: 503,
    headers: { 'retry-after': '0' },
    json: { error: { message: 'the tier does not answer', code: 'tier_unavailable' } },
  };
  await page.route(/\/v1\/(diptych\/status|chat)/, (route) => (down ? route.fulfill(unavailable) : route.continue()));
  await page.waitForSelector('.strip-bad');
  await ask(page, 'hello');
  await page.waitForFunction(() => document.querySelector('.refused')?.textContent.includes('Asked several times'));
  down = false;
  await answered(page);
});

test('while a question waits, another answer can be shown, and what begins anew drops it', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await analysed(page);
  await ask(page, 'Where is the star?');
  await answered(page);
  const unavailable = { status: 503, headers: { 'retry-after': '1' }, json: { error: { message: 'not now' } } };
  let release,
    down = false;
  const held = new Promise((resolve) => {
    release = resolve;
  });
  await page.route('**/v1/chat/completions', async (route) => {
    if (down) return route.fulfill(unavailable);
    await held;
    return route.continue();
  });
  await ask(page, 'What color is the circle?');
  await page.waitForSelector('.turn .waiting');
  await page.locator('#history .link').click();
  assert.match(await page.locator('.asked').textContent(), /Where is the star/);
  release();
  await page.waitForFunction(() => document.querySelectorAll('table.history tbody tr').length === 2);
  assert.equal(await said(page), 'red');
  down = true;
  for (const begin of [
    () => page.getByLabel('Keep the conversation').check(),
    () => page.getByRole('button', { name: 'New conversation' }).click(),
  ]) {
    await ask(page, 'What color is the circle?');
    await page.waitForSelector('.refused .countdown');
    await begin();
    await page.waitForSelector('#send[aria-disabled=false]');
    assert.equal(await page.locator('.turn').count(), 0);
    down = false;
    await ask(page, 'What color is the circle?');
    await page.waitForSelector('.thread .turn:not([aria-busy])');
    assert.equal(await said(page), 'red');
    down = true;
  }
});

// What a gateway sends when a tier fails within a stream.
const brokenStream = (text, error) =>
  [{ choices: [{ index: 0, delta: { content: text } }] }, { error }]
    .map((event) => `data: ${JSON.stringify(event)}\n\n`)
    .join('');

test('an error within a stream is not called by the status of the stream', async (t) => {
  const page = await open(t);
  let body = brokenStream('half an ans', {
    message: 'the tier went away',
    type: 'server_error',
    param: null,
    code: 'tier_unavailable',
  });
  await page.route('**/v1/chat/completions', (route) => route.fulfill({ body, contentType: 'text/event-stream' }));
  await ask(page, 'hello');
  await page.waitForSelector('.card .notice-error');
  const told = await page.locator('.card').textContent();
  assert.match(told, /half an ans.*The answer broke off:.*the tier went away.*tier_unavailable/s);
  assert.doesNotMatch(told, /200/);
  body = brokenStream('', {
    message: 'it cannot be',
    type: 'invalid_request_error',
    param: null,
    code: 'image_corrupt',
  });
  await ask(page, 'hello again');
  await page.waitForFunction(() => document.querySelector('.card')?.textContent.includes('it cannot be'));
  assert.match(await page.locator('.card .notice-error').textContent(), /^Failed: it cannot be/);
  body = brokenStream('', { message: 'full', type: 'rate_limit_error', param: null, code: 'queue_full' });
  await ask(page, 'and again');
  await page.waitForSelector('.refused .countdown');
  body = 'data: {"choices":[{"index":0,"delta":{"content":"a begi"}}]}\n\n'; // cut off without an end
  await page.getByRole('button', { name: 'Ask now' }).click();
  await page.waitForFunction(() => document.querySelector('.card')?.textContent.includes('broke off before its end'));
});
