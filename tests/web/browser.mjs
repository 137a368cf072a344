// What the tests of the playground share: a browser, pages that must not misbehave, and what a person does with them.
// playground_test.py says in the environment where everything is.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before } from 'node:test';

export const { BROWSER, KEYED_PORT, LANGUAGE_PID, MODULES, OPENAI, PORT, PYTHON, ROOT, SCREENSHOTS } = process.env;
export const ORIGIN = `http://127.0.0.1:${PORT}`;
const require = createRequire(join(MODULES, 'x'));
const { chromium } = require('playwright-core');
const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const MAX_SCREENSHOT = 150_000;
const PATIENCE = 20_000; // milliseconds, for what never takes so long

export let browser;

before(async () => {
  browser = await chromium.launch({ executablePath: BROWSER, args: ['--no-sandbox'] });
});
after(() => browser.close());

// A page that fails the test if it asks another origin, violates its policy or throws.
export async function open(t, { port = PORT, ...options } = {}) {
  const origin = `http://127.0.0.1:${port}`;
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    acceptDownloads: true,
    ...options,
  });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const faults = [];
  page.on('request', (request) => {
    const address = request.url();
    if (!address.startsWith(`${origin}/`) && !/^(data|blob):/.test(address)) faults.push(`asked ${address}`);
  });
  page.on('pageerror', (error) => faults.push(error.stack));
  await page.exposeFunction('reportViolation', (directive) => faults.push(`violates ${directive}`));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) =>
      window.reportViolation(`${event.violatedDirective}: ${event.blockedURI}`),
    );
  });
  t.after(async () => {
    await context.close();
    assert.deepEqual(faults, []);
  });
  await page.goto(`${origin}/`);
  if (port === PORT) await page.waitForSelector('.tier-language.tier-good', { state: 'attached' });
  return page;
}

// Presses Tab until `selector` has the focus, as someone without a mouse has to.
export async function tabTo(page, selector) {
  for (let i = 0; i < 80; ++i) {
    await page.keyboard.press('Tab');
    if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
  }
  assert.fail(`Tab never reaches ${selector}`);
}

// Whoever works by keyboard goes on from there.
export async function hasFocus(page, selector) {
  const [is, wanted] = await page.evaluate(
    (matched) => [document.activeElement.outerHTML, document.activeElement.matches(matched)],
    selector,
  );
  assert.ok(wanted, `not ${selector} has the focus, but ${is.slice(0, 100)}`);
}

export async function takeSample(page) {
  await tabTo(page, '.sample');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.sample[aria-pressed=true]');
}

export async function ask(page, question) {
  await page.locator('#question').fill(question);
  await page.locator('#question').press('Enter');
}

export const SAMPLE = join(ROOT, 'web/samples/red_circle_blue_star.webp');
export const answered = (page) => page.waitForSelector('.card:not([aria-busy]) .waterfall');
export const said = (page) =>
  page
    .locator('.turn .sr-only >> text=Answer:')
    .last()
    .textContent()
    .then((text) => text.replace('Answer: ', ''));
export const announced = (page, text) =>
  page.waitForFunction((wanted) => document.getElementById('announcer')?.textContent.includes(wanted), text);
export const stageLabel = (page) => page.locator('#canvas').getAttribute('aria-label');
export const pixels = (page) => page.evaluate(() => document.getElementById('canvas').toDataURL());
export const analysed = (page) =>
  page.waitForFunction(() => document.querySelector('.map') && !document.querySelector('.stage.busy'));

// Drops what `fill` (a function of a DataTransfer, run in the page with `argument`) lets go.
export const drop = (page, fill, argument) =>
  page.evaluate(
    async ([source, value]) => {
      const dataTransfer = new DataTransfer();
      await new Function(`return ${source}`)()(dataTransfer, value);
      for (const type of ['dragover', 'drop']) {
        document
          .getElementById('stage')
          .dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
      }
    },
    [String(fill), argument],
  );

export async function audit(page, where) {
  const violations = await page
    .evaluate(`${AXE}; axe.run(document, {resultTypes: ['violations']})`)
    .then((result) => result.violations);
  const grave = violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n')}`,
    );
  assert.deepEqual(grave, [], where);
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wider <= 0, `${where}: ${wider} px wider than the window`);
}

export async function shoot(page, name, options = {}) {
  if (!SCREENSHOTS) return;
  const path = join(SCREENSHOTS, `${name}.jpg`);
  for (let quality = 80; quality >= 50; quality -= 5) {
    await page.screenshot({ path, type: 'jpeg', quality, ...options });
    if (statSync(path).size <= MAX_SCREENSHOT) return;
  }
  assert.fail(`${path} is too large`);
}

export async function clipOf(page, selector) {
  await page.evaluate(() => window.scrollTo(0, 0));
  return page.locator(selector).boundingBox();
}
