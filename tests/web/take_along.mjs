// What an answer can be taken along as: each form does, pasted elsewhere, what the page did.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { OPENAI, PYTHON, SAMPLE, answered, ask, drop, open, said, takeSample } from './browser.mjs';

const HARD = 'What color is the "circle" \\ $HOME `id` \' {1} \u{1f534}?';

function emptyFolder(t) {
  const folder = mkdtempSync(join(tmpdir(), 'playground-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

// Opens the form `name` and copies it. Saves the files that it asks for into `folder`.
async function copied(page, name, folder) {
  const toggle = page.getByRole('button', { name, exact: true });
  if ((await toggle.getAttribute('aria-expanded')) !== 'true') await toggle.click();
  for (const button of await page.locator('.code-files button').all()) {
    const [download] = await Promise.all([page.waitForEvent('download'), button.click()]);
    copyFileSync(await download.path(), join(folder, download.suggestedFilename()));
  }
  await page.locator('.code .copy').click();
  return page.evaluate(() => navigator.clipboard.readText());
}

const RUNNERS = [
  {
    name: 'As curl',
    missing: () => ['/usr/bin/curl', '/bin/curl'].every((path) => !existsSync(path)) && 'curl',
    run(text, folder) {
      writeFileSync(join(folder, 'ask.sh'), text);
      return JSON.parse(execFileSync('bash', ['ask.sh'], { cwd: folder, encoding: 'utf8' })).choices[0].message.content;
    },
  },
  {
    name: 'As Python',
    missing: () => !existsSync(join(OPENAI, 'openai')) && "OpenAI's client",
    run(text, folder) {
      writeFileSync(join(folder, 'ask.py'), text);
      const env = { ...process.env, PYTHONPATH: OPENAI };
      return execFileSync(PYTHON, ['ask.py'], { cwd: folder, encoding: 'utf8', env }).trimEnd();
    },
  },
];

async function runBoth(t, page) {
  const answer = await said(page);
  for (const { name, missing, run } of RUNNERS) {
    const folder = emptyFolder(t);
    const text = await copied(page, name, folder);
    assert.doesNotMatch(text, /top_logprobs|return_relevance/);
    if (missing()) t.diagnostic(`${missing()} is not installed: ${name} was not run`);
    else assert.equal(run(text, folder), answer, `${name}:\n${text.slice(0, 2000)}`);
  }
}

const readsClipboard = { permissions: ['clipboard-read', 'clipboard-write'] };

test('as curl and as Python work where they are pasted, whatever the question holds', async (t) => {
  const page = await open(t, readsClipboard);
  await takeSample(page);
  await ask(page, HARD);
  await answered(page);
  await runBoth(t, page);
  await page.locator('#generation summary').click();
  await page.getByLabel('Max tokens').fill('3');
  await page.getByLabel('Top-k').fill('7');
  await page.getByLabel('Stop at').fill('"\\');
  await page.locator('#preparation summary').click();
  await page.locator('#image-size').selectOption('168');
  await ask(page, 'What color is the circle?');
  await page.waitForFunction(() => document.querySelectorAll('table.history tbody tr').length === 2);
  await answered(page);
  await runBoth(t, page);
});

test('as curl and as Python carry a file of the person, small or large, and a conversation with several images', async (t) => {
  const page = await open(t, readsClipboard);
  await page
    .locator('#file')
    .setInputFiles({ name: "it's $HOME.webp", mimeType: 'image/webp', buffer: readFileSync(SAMPLE) });
  await ask(page, 'What color is the circle?');
  await answered(page);
  await runBoth(t, page);

  await drop(page, async (transfer) => {
    const canvas = new OffscreenCanvas(400, 300);
    const noise = canvas.getContext('2d').createImageData(400, 300);
    for (let i = 0; i < noise.data.length; i += 4)
      noise.data.set([Math.random() * 255, Math.random() * 255, Math.random() * 255, 255], i);
    canvas.getContext('2d').putImageData(noise, 0, 0);
    transfer.items.add(
      new File([await canvas.convertToBlob({ type: 'image/png' })], 'noise; rm -rf.png', { type: 'image/png' }),
    );
  });
  await ask(page, 'What is in the center?');
  await page.waitForFunction(() => document.querySelectorAll('table.history tbody tr').length === 2);
  await answered(page);
  await runBoth(t, page);

  await page.getByLabel('Keep the conversation').check();
  await page.getByLabel('Several images').check();
  await takeSample(page);
  await ask(page, 'What color is the circle?');
  await answered(page);
  await ask(page, 'Where is the star?');
  await page.waitForFunction(() => document.querySelectorAll('.thread .turn').length === 2);
  await answered(page);
  await runBoth(t, page);
});

test('markup in a question stays text, and answers can be exported without their images', async (t) => {
  const page = await open(t, readsClipboard);
  const markup = '<img src=x onerror="document.title=1"><b>bold</b>';
  await ask(page, markup);
  await answered(page);
  assert.equal(await page.locator('.asked').textContent(), `Question: ${markup}`);
  assert.equal(await page.locator('.asked img, .asked b, #history-body b').count(), 0);
  await page.getByRole('button', { name: 'Clear' }).click();
  await takeSample(page);
  for (const count of [1, 2]) {
    await ask(page, 'What color is the circle?');
    await page.waitForFunction((rows) => document.querySelectorAll('table.history tbody tr').length === rows, count);
  }
  await answered(page);
  const shown = JSON.parse(await copied(page, 'As JSON'));
  assert.equal(shown.answer, 'red');
  assert.ok(shown.timings.total > 0);
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Export JSON' }).click(),
  ]);
  const text = readFileSync(await download.path(), 'utf8');
  assert.equal(JSON.parse(text).answers.length, 2);
  assert.ok(!text.includes('base64'));
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.waitForSelector('#history .empty');
});

test('an answer can be copied, asked again and edited', async (t) => {
  const page = await open(t, readsClipboard);
  await takeSample(page);
  await ask(page, 'What color is the circle?');
  await answered(page);
  await page.locator('.turn-actions').getByRole('button', { name: 'Copy' }).click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'red');
  await page.locator('#question').fill('something else');
  await page.getByRole('button', { name: 'Ask again' }).click();
  await page.waitForFunction(() => document.querySelectorAll('table.history tbody tr').length === 2);
  await answered(page);
  assert.equal(await page.locator('.asked > span:last-child').textContent(), 'What color is the circle?');
  await page.getByRole('button', { name: 'Edit' }).click();
  assert.equal(await page.locator('#question').inputValue(), 'What color is the circle?');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'question');
});
