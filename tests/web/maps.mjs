// What the model sees, and where it looks.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  SCREENSHOTS,
  analysed,
  answered,
  ask,
  audit,
  open,
  pixels,
  shoot,
  stageLabel,
  tabTo,
  takeSample,
} from './browser.mjs';

test('the pixels that the model got, and where it looks, are shown', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await analysed(page);
  assert.deepEqual(await page.locator('.step strong').allTextContents(), [
    '224 × 224',
    '112 × 112',
    '8 × 8',
    '65 × 128',
    '16',
  ]);
  assert.equal(await page.locator('.map').count(), 1 + 1 + 16); // class token, mean, queries
  assert.match(await stageLabel(page), /as the model sees it$/);
  const bare = await pixels(page);
  await page.locator('#view input[value=sent]').check();
  assert.notEqual(await pixels(page), bare);
  await page.locator('#view input[value=seen]').check();
  assert.equal(await pixels(page), bare);

  await page.mouse.move(0, 0);
  await tabTo(page, '.map');
  assert.match(await stageLabel(page), /heat map of CLS, the class token.*: most in row \d, column \d \(\d/);
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowRight');
  assert.match(await stageLabel(page), /heat map of Q-Former query 1:/);
  assert.notEqual(await pixels(page), bare);
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  assert.match(await stageLabel(page), /Q-Former query 1/); // it was kept
  assert.match(await page.locator('#legend').textContent(), /Q-Former query 1.*%/);
  await ask(page, '');
  await answered(page);
  assert.match(await stageLabel(page), /Q-Former query 1/);
  if (SCREENSHOTS) await page.setViewportSize({ width: 1280, height: 1180 });
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.locator('#left').evaluate((left) => left.scrollTo(0, 0));
  await shoot(page, 'playground');
  await page.mouse.move(0, 0);
  await page.locator('.map[aria-pressed=true]').focus();
  await page.keyboard.press('Escape');
  assert.match(await stageLabel(page), /as the model sees it$/);

  await page.locator('#preparation summary').click();
  await page.locator('#image-size').selectOption('168');
  await page.waitForFunction(() => document.getElementById('path')?.textContent.includes('168 × 168'));
  assert.match(await page.locator('#path').textContent(), /12 × 12.*145 × 128/);
  await page.locator('#token-merging').fill('0.1');
  await page.waitForFunction(() => document.getElementById('image-notice')?.textContent.includes('No maps'));
  assert.equal(await page.locator('.map').count(), 0);
});

test('each word of an answer shows where it looked', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await analysed(page);
  await ask(page, '');
  await answered(page);
  const bare = await pixels(page);
  await tabTo(page, '.said .token');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowRight');
  assert.match(
    await page.evaluate(() => document.activeElement.getAttribute('aria-label')),
    /^circle: probability .*, \d+ % of its attention on the image$/,
  );
  assert.match(await stageLabel(page), /heat map of the token “circle”: most in row/);
  assert.notEqual(await pixels(page), bare);
  await page.keyboard.press('Enter');
  if (SCREENSHOTS) await page.setViewportSize({ width: 1280, height: 800 });
  await page.evaluate(() => window.scrollTo(0, 0));
  await shoot(page, 'playground-words');
  await audit(page, 'map of a word');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Tab');
  assert.equal(await pixels(page), bare);
});
