// One question at several sizes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { announced, audit, clipOf, hasFocus, open, shoot, takeSample } from './browser.mjs';

test('resolutions are compared side by side', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await page.locator('#question').fill('What color is the circle?');
  await page.getByRole('button', { name: 'Compare' }).click();
  await announced(page, 'Compared 5 sizes');
  await hasFocus(page, '#compare-run');
  assert.equal(await page.locator('.compare-card').count(), 5);
  assert.equal(await page.locator('.compare-card', { hasText: 'own' }).locator('.compare-answer').textContent(), 'red');
  assert.equal(await page.locator('.compare-card .verdict').count(), 4);
  for (const facts of await page.locator('.compare-facts').allTextContents()) {
    assert.match(facts, /vision transformer[\d.<]+( m?s)? · [\d.<]+ m?s/); // measured twice, neither time from a cache
  }
  await audit(page, 'comparison');
  await shoot(page, 'playground-resolutions', { clip: await clipOf(page, '#compare'), fullPage: true });
});

// What the server says of a copy that its caches should not know.
const cacheHits = (page, type) =>
  page.evaluate(async (wanted) => {
    const { unseenCopy } = await import('/playground/image/unseen.js');
    const { dataUrl } = await import('/playground/image/reading.js');
    const canvas = new OffscreenCanvas(48, 48);
    canvas.getContext('2d').fillRect(0, 0, 30, 20);
    const file = await canvas.convertToBlob({ type: wanted });
    const ask = async (blob) => {
      const content = [{ type: 'image_url', image_url: { url: await dataUrl(blob) } }];
      const headers = { 'content-type': 'application/json' };
      const body = JSON.stringify({ messages: [{ role: 'user', content }], max_tokens: 4 });
      const reply = await (await fetch('/v1/chat/completions', { method: 'POST', headers, body })).json();
      if (!reply.diptych) throw new Error(JSON.stringify(reply));
      const hits = reply.diptych.timings.cache_hits ?? {};
      return [
        reply.choices[0].message.content,
        (hits.vision_tokens ?? 0) + (hits.projected_tokens ?? 0) + (hits.kv_prefix ?? 0) > 0,
      ];
    };
    await ask(file);
    return {
      same: await ask(file),
      copies: [await ask(await unseenCopy(file)), await ask(await unseenCopy(file))],
      type: file.type,
    };
  }, type);

test('a measured copy has the pixels of its image, and no cache knows it', async (t) => {
  const page = await open(t);
  for (const type of ['image/jpeg', 'image/png', 'image/webp']) {
    const { same, copies, type: made } = await cacheHits(page, type);
    assert.equal(made, type);
    assert.equal(same[1], true, `${type}: the same bytes are known`);
    for (const copy of copies) assert.deepEqual(copy, [same[0], false], type);
  }
});
