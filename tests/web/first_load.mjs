// The page as it comes from the server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, ORIGIN } from './browser.mjs';

const MAX_FIRST_LOAD = 300_000; // bytes

test('the first load is small, complete and closed to other origins', async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const sizes = [];
  page.on('response', (response) =>
    sizes.push(
      response.body().then(
        (body) => body.length,
        () => 0,
      ),
    ),
  );
  const response = await page.goto(`${ORIGIN}/`, { waitUntil: 'networkidle' });
  const total = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  t.diagnostic(`first load: ${sizes.length} replies, ${total} bytes`);
  assert.ok(total > 10_000 && total <= MAX_FIRST_LOAD, `${total} bytes`);
  const policy = response.headers()['content-security-policy'];
  assert.match(policy, /default-src 'self'/);
  assert.doesNotMatch(policy, /unsafe|https?:|\*/);
  assert.equal(response.headers()['x-content-type-options'], 'nosniff');
  assert.ok(response.headers()['referrer-policy']);
  for (const [path, type] of [
    ['/playground/app.js', 'text/javascript'],
    ['/playground/style/base.css', 'text/css'],
    ['/playground/favicon.svg', 'image/svg+xml'],
  ]) {
    const reply = await fetch(ORIGIN + path);
    assert.ok(reply.headers.get('content-type').startsWith(type));
    const again = await fetch(ORIGIN + path, { headers: { 'if-none-match': reply.headers.get('etag') } });
    assert.equal(again.status, 304);
    assert.equal(await again.text(), '');
  }
  for (const path of ['/playground/', '/playground/../app.js', '/playground/nothing.js', '/app.js']) {
    assert.equal((await fetch(ORIGIN + path)).status, 404);
  }
  assert.equal((await fetch(`${ORIGIN}/`, { method: 'POST' })).status, 405);
});
