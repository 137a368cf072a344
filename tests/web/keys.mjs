// A server with API keys.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KEYED_PORT, answered, ask, audit, open } from './browser.mjs';

test('a server with keys is given one', async (t) => {
  const page = await open(t, { port: KEYED_PORT });
  await page.waitForFunction(() => document.getElementById('model-line')?.textContent.includes('asks for a key'));
  await ask(page, 'hello');
  await page.waitForSelector('dialog[open]');
  await audit(page, 'key dialog');
  await page.keyboard.type('wrong');
  await page.keyboard.press('Enter');
  await page.waitForFunction(
    () => document.getElementById('key-title')?.textContent === 'Another key' && document.querySelector('dialog[open]'),
  );
  await page.keyboard.press('Escape');
  await page.waitForSelector('.card .notice-error');
  assert.match(await page.locator('.card .notice-error').textContent(), /Refused \(401\)/);
  await page.locator('#key-button').click();
  await page.keyboard.type('right');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.tier-language.tier-good', { state: 'attached' });
  await ask(page, 'hello');
  await answered(page);
  await page.getByRole('button', { name: 'As curl' }).click();
  const command = await page.locator('.code pre').textContent();
  assert.ok(command.includes('$DIPTYCH_API_KEY') && !command.includes('right'));
});
