// Drives the playground with a real headless Chromium against the real processes, as a person would: mostly by keyboard.
// Started by playground_test.py, which says in the environment where everything is.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, copyFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

const { BROWSER, KEYED_PORT, LANGUAGE_PID, MODULES, PORT, ROOT, SCREENSHOTS } = process.env;
const ORIGIN = `http://127.0.0.1:${PORT}`;
const require = createRequire(join(MODULES, 'x'));
const { chromium } = require('playwright-core');
const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const MAX_FIRST_LOAD = 300_000;  // bytes
const MAX_SCREENSHOT = 150_000;
const PATIENCE = 20_000;  // milliseconds, for what never takes so long

let browser;

before(async () => {
  browser = await chromium.launch({ executablePath: BROWSER, args: ['--no-sandbox'] });
});
after(() => browser.close());

// A page that fails the test if it asks another origin, violates its policy or throws.
async function open(t, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const faults = [];
  page.on('request', (request) => {
    const address = request.url();
    if (!address.startsWith(`${ORIGIN}/`) && !/^(data|blob):/.test(address)) faults.push(`asked ${address}`);
  });
  page.on('pageerror', (error) => faults.push(error.stack));
  await page.exposeFunction('reportViolation', (directive) => faults.push(`violates ${directive}`));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => window.reportViolation(`${event.violatedDirective}: ${event.blockedURI}`));
  });
  t.after(async () => {
    await context.close();
    assert.deepEqual(faults, []);
  });
  await page.goto(`${ORIGIN}/`);
  await page.waitForSelector('.tier-language.tier-good');
  return page;
}

// Presses Tab until `selector` has the focus, as someone without a mouse has to.
async function tabTo(page, selector) {
  for (let i = 0; i < 60; ++i) {
    await page.keyboard.press('Tab');
    if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
  }
  assert.fail(`Tab never reaches ${selector}`);
}

async function takeSample(page) {
  await tabTo(page, '.sample');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.sample[aria-pressed=true]');
}

async function ask(page, question) {
  await page.locator('#question').fill(question);
  await page.locator('#question').press('Enter');
}

const answered = (page) => page.waitForSelector('.card:not([aria-busy]) .waterfall');
const said = (page) => page.locator('.card .sr-only >> text=Answer:').textContent().then((text) => text.replace('Answer: ', ''));
const announced = (page, text) => page.waitForFunction((wanted) => document.getElementById('announcer')?.textContent.includes(wanted), text);

async function audit(page, where) {
  const violations = await page.evaluate(`${AXE}; axe.run(document, {resultTypes: ['violations']})`).then((result) => result.violations);
  const grave = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n')}`);
  assert.deepEqual(grave, [], where);
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wider <= 0, `${where}: ${wider} px wider than the window`);
}

async function shoot(page, name, options = {}) {
  if (!SCREENSHOTS) return;
  const path = join(SCREENSHOTS, `${name}.jpg`);
  for (let quality = 80; quality >= 50; quality -= 5) {
    await page.screenshot({ path, type: 'jpeg', quality, ...options });
    if (statSync(path).size <= MAX_SCREENSHOT) return;
  }
  assert.fail(`${path} is too large`);
}

test('the first load is small, complete and closed to other origins', async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const sizes = [];
  page.on('response', (response) => sizes.push(response.body().then((body) => body.length, () => 0)));
  const response = await page.goto(`${ORIGIN}/`, { waitUntil: 'networkidle' });
  const total = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  t.diagnostic(`first load: ${sizes.length} replies, ${total} bytes`);
  assert.ok(total > 10_000 && total <= MAX_FIRST_LOAD, `${total} bytes`);
  const policy = response.headers()['content-security-policy'];
  assert.match(policy, /default-src 'self'/);
  assert.doesNotMatch(policy, /unsafe|https?:|\*/);
  assert.equal(response.headers()['x-content-type-options'], 'nosniff');
  assert.ok(response.headers()['referrer-policy']);
  for (const [path, type] of [['/playground/app.js', 'text/javascript'], ['/playground/style.css', 'text/css'], ['/playground/favicon.svg', 'image/svg+xml']]) {
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
    new MutationObserver((records) => records.forEach((record) => {
      if (record.target.classList?.contains('said')) record.addedNodes.forEach((node) => window.pieces.add(node.textContent));
    })).observe(document.getElementById('answer'), { childList: true, subtree: true });
  });
  await ask(page, '');  // the caption
  await page.waitForFunction(() => document.querySelector('.card .sr-only + .said')?.textContent.includes('blue star'));
  const pieces = await page.evaluate(() => [...window.pieces]);
  assert.ok(pieces.length > 2, JSON.stringify(pieces));
  assert.ok(pieces.slice(1).every((piece, i) => piece.startsWith(pieces[i]) || pieces[i].startsWith(piece)));

  const stages = await page.locator('.waterfall tbody tr').count();
  assert.equal(stages, 13);
  assert.match(await page.locator('.waterfall tfoot').textContent(), /Total\s*[\d.]+ m?s/);
  assert.match(await page.locator('.card .budget-words').textContent(), /16 image \+ \d+ text \+ \d+ answer of 160 tokens, \d+ left/);

  await tabTo(page, '.said .token');  // one stop for the whole answer
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowRight');
  assert.match(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), /^circle: probability \d/);
  assert.match(await page.locator('.token-detail').textContent(), / p \d/);
});

const label = (page) => page.locator('#canvas').getAttribute('aria-label');
const pixels = (page) => page.evaluate(() => document.getElementById('canvas').toDataURL());

test('the pixels that the model got, and where it looks, are shown', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await page.waitForSelector('.map');
  assert.deepEqual(await page.locator('.step strong').allTextContents(), ['224 × 224', '112 × 112', '8 × 8', '65 × 128', '16']);
  assert.equal(await page.locator('.map').count(), 1 + 1 + 16);  // class token, mean, queries
  assert.match(await label(page), /as the model sees it$/);
  const bare = await pixels(page);
  await page.locator('#view input[value=sent]').check();
  assert.notEqual(await pixels(page), bare);
  await page.locator('#view input[value=seen]').check();
  assert.equal(await pixels(page), bare);

  await tabTo(page, '.map');
  assert.match(await label(page), /heat map of CLS, the class token.*: most in row \d, column \d \(\d/);
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowRight');
  assert.match(await label(page), /heat map of Q-Former query 1:/);
  assert.notEqual(await pixels(page), bare);
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  assert.match(await label(page), /Q-Former query 1/);  // it was kept
  assert.match(await page.locator('#legend').textContent(), /Q-Former query 1.*%/);
  await ask(page, '');
  await answered(page);
  assert.match(await label(page), /Q-Former query 1/);
  if (SCREENSHOTS) await page.setViewportSize({ width: 1280, height: 1180 });
  await page.evaluate(() => window.scrollTo(0, 0));
  await shoot(page, 'playground');
  await page.locator('.map[aria-pressed=true]').focus();
  await page.keyboard.press('Escape');
  assert.match(await label(page), /as the model sees it$/);

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
  await page.waitForSelector('.map');
  await ask(page, '');
  await answered(page);
  const bare = await pixels(page);
  await tabTo(page, '.said .token');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowRight');
  assert.match(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), /^circle: probability .*, \d+ % of its attention on the image$/);
  assert.match(await label(page), /heat map of the token “circle”: most in row/);
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

test('what is asked and answered can be taken along, and markup in it stays text', async (t) => {
  const page = await open(t);
  const markup = '<img src=x onerror="document.title=1"><b>bold</b>';
  await ask(page, markup);
  await answered(page);
  assert.equal(await page.locator('.asked').textContent(), `Question: ${markup}`);
  assert.equal(await page.locator('.asked img, .asked b, #history-body b').count(), 0);
  await page.getByRole('button', { name: 'Clear' }).click();
  await takeSample(page);
  await ask(page, 'What color is the "circle" \\ $HOME `id` \'?');
  await answered(page);
  await ask(page, 'What color is the circle?');
  await page.waitForFunction(() => document.querySelectorAll('table.history tbody tr').length === 2);
  await answered(page);

  await page.getByRole('button', { name: 'As JSON' }).click();
  const shown = JSON.parse(await page.locator('.code pre').textContent());
  assert.equal(shown.answer, 'red');
  assert.ok(shown.timings.total > 0);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export JSON' }).click()]);
  const text = readFileSync(await download.path(), 'utf8');
  assert.equal(JSON.parse(text).answers.length, 2);
  assert.ok(!text.includes('base64'));

  for (const row of [0, 1]) {  // the shell must get the same answer, whatever the question holds
    await page.locator('table.history tbody tr').nth(row).getByRole('button').click();
    const answer = await said(page);
    await page.getByRole('button', { name: 'As curl' }).click();
    const command = await page.locator('.code pre').textContent();
    const folder = mkdtempSync(join(tmpdir(), 'playground-'));
    t.after(() => rmSync(folder, { recursive: true }));
    copyFileSync(join(ROOT, 'web/samples/red_circle_blue_star.webp'), join(folder, 'red_circle_blue_star.webp'));
    const reply = execFileSync('bash', ['-c', command.replace(/^curl/, 'command -v curl >/dev/null || exit 0; curl')], { cwd: folder, encoding: 'utf8' });
    if (reply === '') { t.diagnostic('curl is not installed: its command was not run'); continue; }
    const { choices } = JSON.parse(reply);
    assert.equal(choices[0].message.content, answer);
  }
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.waitForSelector('#history .empty');
});

test('a conversation keeps its turns, and what it costs is shown', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await page.getByLabel('Keep the conversation').check();
  await ask(page, 'What color is the circle?');
  await answered(page);
  await page.waitForFunction(() => document.querySelector('#budget .budget-words')?.textContent.includes('earlier turns'));
  await ask(page, 'Where is the star?');
  await page.waitForSelector('.thread .turn-assistant');
  await answered(page);
  assert.equal(await page.locator('.thread li').count(), 2);
  assert.match(await page.locator('.card .budget-words').textContent(), /\d+ earlier turns/);
  await page.getByRole('button', { name: 'Start anew' }).click();
  await ask(page, 'What color is the circle?');
  await page.waitForFunction(() => document.querySelectorAll('table.history tbody tr').length === 3);
  assert.equal(await page.locator('.thread').count(), 0);
});

test('a question that does not fit is warned of before it is sent, and its refusal is told', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await page.locator('#question').fill('Is there a circle? '.repeat(20));
  await page.waitForSelector('#budget .budget-over');
  await announced(page, 'Does not fit');
  assert.match(await page.locator('.budget-advice').textContent(), /tokens too many\. Shorten the question/);
  await shoot(page, 'playground-budget', { clip: await page.locator('#words').boundingBox() });
  await page.locator('#question').press('Enter');
  await page.waitForSelector('.notice-error');
  assert.match(await page.locator('.card .notice-error').textContent(), /Refused \(400\).*context_length_exceeded/s);
  await announced(page, 'Error');
  await audit(page, 'refused question');
});

test('a file that is no image is refused with what to do', async (t) => {
  const page = await open(t);
  await page.locator('#file').setInputFiles({ name: 'notes.png', mimeType: 'image/png', buffer: Buffer.from('no image') });
  await page.waitForSelector('#image-notice .notice-error');
  assert.match(await page.locator('#image-notice').textContent(), /notes\.png is not an image that can be shown.*PNG, JPEG or WebP/s);
  const gif = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');
  await page.locator('#file').setInputFiles({ name: 'still.gif', mimeType: 'image/gif', buffer: gif });
  await page.waitForSelector('#stage-empty', { state: 'hidden' });
  await ask(page, 'What is this?');
  await page.waitForSelector('.card .notice-error');
  assert.match(await page.locator('.card .notice-error').textContent(), /image_format/);
});

test('resolutions are compared side by side', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await page.locator('#question').fill('What color is the circle?');
  await page.getByRole('button', { name: 'Compare' }).click();
  await announced(page, 'Compared 5 sizes');
  assert.equal(await page.locator('.compare-card').count(), 5);
  assert.equal(await page.locator('.compare-card', { hasText: 'own' }).locator('.compare-answer').textContent(), 'red');
  assert.equal(await page.locator('.compare-card .verdict').count(), 4);
  await audit(page, 'comparison');
  await shoot(page, 'playground-resolutions', { clip: await clipOf(page, '#compare'), fullPage: true });
});

async function clipOf(page, selector) {
  await page.evaluate(() => window.scrollTo(0, 0));
  return page.locator(selector).boundingBox();
}

test('an answer can be stopped, and a full server is asked again after a countdown', async (t) => {
  const page = await open(t);
  await takeSample(page);
  await page.waitForSelector('.map');  // its analysis is over
  const body = JSON.stringify({ messages: [{ role: 'user', content: 'hello' }], max_tokens: 4 });
  const pause = () => new Promise((resolve) => { setTimeout(resolve, 20); });
  const running = async () => Number(/^diptych_requests_running (\d+)/m.exec(await (await fetch(`${ORIGIN}/metrics`)).text())[1]);
  process.kill(Number(LANGUAGE_PID), 'SIGSTOP');
  let held = [];
  try {
    await ask(page, 'What color is the circle?');
    while (await running() < 1) await pause();
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.waitForSelector('.card .notice-info');
    while (await running() > 0) await pause();  // the server stopped too
    held = Array.from({ length: 4 }, () => fetch(`${ORIGIN}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body }));
    while (await running() < 4) await pause();
    await ask(page, 'What color is the circle?');
    await page.waitForSelector('.refused .countdown');
    assert.match(await page.locator('.refused').textContent(), /The server is full:.*Asks again in \d+ s/s);
    await announced(page, 'Asks again in');
    await page.waitForSelector('.tier-bad');  // the strip tells that the language tier stands still
    await page.waitForSelector('.refused .countdown');
    await audit(page, 'refused for now');
    await shoot(page, 'playground-refused');
  } finally {
    process.kill(Number(LANGUAGE_PID), 'SIGCONT');
  }
  await Promise.all(held);
  await answered(page);
  assert.equal(await said(page), 'red');
  await page.waitForSelector('.tier-language.tier-good');
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

test('dark, light, narrow and still', async (t) => {
  const page = await open(t, { colorScheme: 'dark', reducedMotion: 'reduce' });
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  await takeSample(page);
  await ask(page, '');
  await answered(page);
  await page.waitForSelector('.stage:not(.busy)');
  await page.evaluate(() => window.scrollTo(0, 0));
  await shoot(page, 'playground-dark');
  await audit(page, 'dark');
  await page.locator('#theme input[value=light]').check();
  assert.notEqual(await ground(), dark);
  await audit(page, 'light');
  await page.reload();
  assert.notEqual(await ground(), dark);  // it was remembered
  await page.locator('#theme input[value=system]').check();
  assert.equal(await ground(), dark);
  await page.setViewportSize({ width: 390, height: 844 });
  await takeSample(page);
  await ask(page, '');
  await answered(page);
  await audit(page, 'narrow');
  const moving = await page.evaluate(() => document.getAnimations().length);
  assert.equal(moving, 0);
});

test('a server with keys is given one', async (t) => {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 900 } })).newPage();
  t.after(() => page.context().close());
  page.setDefaultTimeout(PATIENCE);
  await page.goto(`http://127.0.0.1:${KEYED_PORT}/`);
  await page.waitForFunction(() => document.getElementById('model-line')?.textContent.includes('asks for a key'));
  await ask(page, 'hello');
  await page.waitForSelector('dialog[open]');
  await audit(page, 'key dialog');
  await page.keyboard.type('wrong');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.getElementById('key-title')?.textContent === 'Another key' && document.querySelector('dialog[open]'));
  await page.keyboard.press('Escape');
  await page.waitForSelector('.card .notice-error');
  assert.match(await page.locator('.card .notice-error').textContent(), /Refused \(401\)/);
  await page.locator('#key-button').click();
  await page.keyboard.type('right');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.tier-language.tier-good');
  await ask(page, 'hello');
  await answered(page);
  await page.getByRole('button', { name: 'As curl' }).click();
  const command = await page.locator('.code pre').textContent();
  assert.ok(command.includes('$DIPTYCH_API_KEY') && !command.includes('right'));
});
