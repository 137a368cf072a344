// Dark, light, narrow, and what stays where it is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { analysed, answered, ask, audit, open, shoot, takeSample } from './browser.mjs';

test('dark, light, narrow and still', async (t) => {
  const page = await open(t, { colorScheme: 'dark', reducedMotion: 'reduce' });
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  await takeSample(page);
  await ask(page, '');
  await answered(page);
  await analysed(page);
  await page.evaluate(() => window.scrollTo(0, 0));
  await shoot(page, 'playground-dark');
  await audit(page, 'dark');
  await page.locator('#theme input[value=light]').check();
  assert.notEqual(await ground(), dark);
  await audit(page, 'light');
  await page.reload();
  assert.notEqual(await ground(), dark); // it was remembered
  await page.locator('#theme input[value=system]').check();
  assert.equal(await ground(), dark);
  await page.setViewportSize({ width: 390, height: 844 });
  await takeSample(page);
  await ask(page, '');
  await answered(page);
  await audit(page, 'narrow');
  await page.locator('.map').first().focus(); // whose name is the longest
  await page.waitForSelector('#legend:not(.legend-empty)');
  await audit(page, 'narrow, a map pointed at');
  const moving = await page.evaluate(() => document.getAnimations().length);
  assert.equal(moving, 0);
});

const tops = (page, ...selectors) =>
  page.evaluate(
    (all) => all.map((selector) => Math.round(document.querySelector(selector).getBoundingClientRect().top)),
    selectors,
  );

test('nothing moves under the pointer: not by words pointed at, an answer on its way, or the tiers', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await analysed(page);
  await page.waitForSelector('#budget .budget-words');
  await ask(page, '');
  await answered(page);
  const measured = ['#send', '.figures', '.waterfall', '#stage', '#maps'];
  const before = await tops(page, ...measured);
  for (const token of await page.locator('.said .token').all()) {
    await token.hover();
    assert.deepEqual(await tops(page, ...measured), before);
  }
  await page.locator('.map').nth(3).scrollIntoViewIfNeeded();
  const scrolled = await tops(page, ...measured);
  await page.locator('.map').nth(3).hover();
  assert.deepEqual(await tops(page, ...measured), scrolled);

  const composer = ['#send', '#stop', '#suggestions', '#budget', '#answer', '#stage'];
  const still = await tops(page, ...composer);
  await page.locator('#send').click();
  assert.deepEqual(await tops(page, ...composer), still);
  await answered(page);
  await page.context().setOffline(true); // the facts of the tiers go
  await page.waitForSelector('.tier-gateway.tier-bad');
  assert.deepEqual(await tops(page, '#send', '#stage'), [still[0], still[5]]);
  await page.context().setOffline(false);
  await page.waitForSelector('.tier-gateway.tier-good');
});

test('on a phone the question comes right after the image, the tiers are folded, and everything has room', async (t) => {
  const page = await open(t, {
    viewport: { width: 390, height: 844 },
    isMobile: true,
    hasTouch: true,
    deviceScaleFactor: 2,
  });
  assert.equal(await page.locator('#tiers').isVisible(), false);
  assert.match(await page.locator('#strip summary').textContent(), /All tiers serve/);
  await page.locator('.sample').first().tap();
  await analysed(page);
  const [image, words, looks] = await tops(page, '#image', '#words', '#looks');
  assert.ok(image < words && words < looks);
  const question = await page.locator('#question').boundingBox();
  assert.ok(question.y < 844, `the question begins at ${question.y}`);
  for (const kept of [false, true]) {
    await page.getByLabel('Keep the conversation').setChecked(kept);
    await ask(page, 'What color is the circle?');
    await answered(page);
    const { y, height } = await page.locator('.said').boundingBox();
    assert.ok(y >= 0 && y + height <= 844, `the answer is from ${y} to ${y + height} in a window of 844`);
  }
  await audit(page, 'phone');
  await page.evaluate(() => window.scrollTo(0, 0));
  await shoot(page, 'playground-phone');
  await page.locator('#strip summary').tap();
  assert.equal(await page.locator('.tier-language').isVisible(), true);
});
