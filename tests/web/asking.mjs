// One question and its answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { announced, answered, ask, audit, clipOf, hasFocus, open, said, shoot, tabTo, takeSample } from './browser.mjs';

test('an image is asked about by keyboard alone, and the answer streams', async (t) => {
  const page = await open(t);
  await audit(page, 'empty page');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
  await takeSample(page);
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'question');
  await page.keyboard.type('What color is the circle?');
  await page.waitForFunction(() => document.querySelector('#budget .budget-words')?.textContent.includes('image'));
  await page.keyboard.press('Enter');
  await answered(page);
  assert.equal(await said(page), 'red');
  await announced(page, 'red. Answered in');

  await page.evaluate(() => {
    window.pieces = new Set();
    new MutationObserver((records) =>
      records.forEach((record) => {
        if (record.target.classList?.contains('said'))
          record.addedNodes.forEach((node) => window.pieces.add(node.textContent));
      }),
    ).observe(document.getElementById('answer'), { childList: true, subtree: true });
  });
  await ask(page, ''); // the caption
  await page.waitForFunction(() => document.querySelector('.card .sr-only + .said')?.textContent.includes('blue star'));
  const pieces = await page.evaluate(() => [...window.pieces]);
  assert.ok(pieces.length > 2, JSON.stringify(pieces));
  assert.ok(pieces.slice(1).every((piece, i) => piece.startsWith(pieces[i]) || pieces[i].startsWith(piece)));

  const stages = await page.locator('.waterfall tbody tr').count();
  assert.ok(stages >= 13);
  assert.match(await page.locator('.waterfall tfoot').textContent(), /Total\s*[\d.]+ m?s/);
  assert.match(
    await page.locator('.card .budget-words').textContent(),
    /16 image \+ \d+ text \+ \d+ answer of 160 tokens, \d+ left/,
  );

  await tabTo(page, '.said .token'); // one stop for the whole answer
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowRight');
  assert.match(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), /^circle: probability \d/);
  assert.match(await page.locator('.token-detail').textContent(), / p \d/);

  await page.getByRole('button', { name: 'Ask again' }).focus();
  await Promise.all([page.waitForRequest('**/v1/chat/completions'), page.keyboard.press('Enter')]);
  await answered(page);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'answer'); // and Tab goes on from there
});

test('what was pressed keeps the focus while it is asked and answered', async (t) => {
  const page = await open(t);
  await takeSample(page);
  const press = async (selector) => {
    await page.locator(selector).first().focus();
    await page.keyboard.press('Enter');
    await answered(page);
    await page.waitForSelector('#send[aria-disabled=false]');
    await hasFocus(page, selector);
  };
  await press('#send');
  await press('#history .link');
  await page.getByLabel('Keep the conversation').check();
  await press('.suggestion');
});

test('a question that does not fit is warned of before it is sent, and its refusal is told', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await page.locator('#question').fill('Is there a circle? '.repeat(60));
  await page.waitForSelector('#budget .budget-over');
  await announced(page, 'Does not fit');
  assert.match(await page.locator('.budget-advice').textContent(), /tokens too many\. Shorten the question/);
  await shoot(page, 'playground-budget', { clip: await clipOf(page, '#words') });
  await page.locator('#question').press('Enter');
  await page.waitForSelector('.notice-error');
  assert.match(await page.locator('.card .notice-error').textContent(), /Refused \(400\).*context_length_exceeded/s);
  await announced(page, 'Error');
  await audit(page, 'refused question');
});
