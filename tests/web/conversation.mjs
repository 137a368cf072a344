// The conversation that is kept.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answered, ask, audit, open, shoot, takeSample } from './browser.mjs';

const turns = (page, count) =>
  page.waitForFunction(
    (wanted) => document.querySelectorAll('.thread .turn:not([aria-busy]) .turn-actions').length === wanted,
    count,
  );
const questions = (page) => page.locator('.thread .asked > span:last-child').allTextContents();

async function begin(page, ...asked) {
  await takeSample(page);
  await page.getByLabel('Keep the conversation').check();
  for (const [i, question] of asked.entries()) {
    await ask(page, question);
    await turns(page, i + 1);
  }
  await answered(page);
}

// The body of the request that `act` sends.
async function sent(page, act) {
  const [request] = await Promise.all([page.waitForRequest('**/v1/chat/completions'), act()]);
  return request.postDataJSON();
}

test('a conversation keeps its turns, the newest in sight, and what it costs is shown', async (t) => {
  const page = await open(t);
  await begin(page, 'What color is the circle?');
  await page.waitForFunction(() =>
    document.querySelector('#budget .budget-words')?.textContent.includes('earlier turns'),
  );
  for (const [i, question] of ['Where is the star?', 'What color is the star?', 'What is in the center?'].entries()) {
    await ask(page, question);
    await turns(page, i + 2);
  }
  await answered(page);
  assert.match(await page.locator('.card .budget-words').textContent(), /\d+ earlier turns/);
  const hidden = await page.evaluate(() => {
    const box = document.getElementById('thread').getBoundingClientRect();
    const turn = document.querySelector('.thread .turn:last-child').getBoundingClientRect();
    return turn.bottom - box.bottom;
  });
  assert.ok(hidden <= 0, `${hidden} px of the newest turn are out of sight`);
  await audit(page, 'conversation');
  await page.evaluate(() => window.scrollTo(0, 0));
  await shoot(page, 'playground-conversation');
  await page.getByRole('button', { name: 'New conversation' }).click();
  assert.equal(await page.locator('.thread .turn').count(), 0);
  const body = await sent(page, () => ask(page, 'What color is the circle?'));
  assert.equal(body.messages.length, 1);
  await turns(page, 1);
});

test('who has scrolled up in a conversation goes on reading while a question is tried again and answered', async (t) => {
  const page = await open(t);
  await begin(page, 'What color is the circle?', 'Where is the star?');
  const thread = page.locator('#thread');
  await thread.evaluate((node) => (node.style.maxHeight = '90px'));
  let tries = 0;
  await page.route('**/v1/chat/completions', (route) => {
    if (++tries > 2) return route.continue();
    return route.fulfill({ status: 503, headers: { 'retry-after': '0' }, json: { error: { message: 'not now' } } });
  });
  const place = () =>
    thread.evaluate((node) => [node.scrollTop, node.scrollHeight - node.clientHeight - node.scrollTop]);
  await ask(page, 'What color is the star?');
  await page.waitForSelector('.refused .countdown');
  assert.ok((await place())[1] <= 1, 'the newest is in sight');
  await thread.evaluate((node) => node.scrollTo(0, 0));
  await turns(page, 3);
  assert.equal(tries, 3);
  assert.equal((await place())[0], 0);
  await ask(page, 'What is in the center?');
  await turns(page, 4);
  assert.ok((await place())[1] <= 1, 'what is asked is in sight');
});

test('a conversation survives a reload and goes on, with its image', async (t) => {
  const page = await open(t);
  await begin(page, 'What color is the circle?', 'Where is the star?');
  await page.reload();
  await turns(page, 2);
  assert.deepEqual(await questions(page), ['What color is the circle?', 'Where is the star?']);
  await page.waitForSelector('.sample[aria-pressed=true]');
  await answered(page); // the newest turn's measures are there, too
  const body = await sent(page, () => ask(page, 'What color is the star?'));
  assert.equal(body.messages.length, 5);
  assert.match(body.messages[0].content[0].image_url.url, /^data:image\/webp;base64,/);
  await turns(page, 3);
  await answered(page);
  await page.getByRole('button', { name: 'New conversation' }).click();
  await page.reload();
  await page.waitForSelector('.tier-language.tier-good');
  assert.equal(await page.locator('.thread .turn').count(), 0);
});

test('what is kept has bounds', async (t) => {
  const page = await open(t);
  const kept = await page.evaluate(async () => {
    const { load, store } = await import('/playground/conversation_store.js');
    const image = (size, url = 'data:,') => ({
      id: `${size}`,
      name: 'x',
      url,
      blob: size === null ? null : new Blob([new Uint8Array(size)]),
    });
    const record = (images) => ({
      id: '1',
      question: 'q',
      images,
      earlier: [],
      entries: [],
      diptych: null,
      error: null,
    });
    const after = async (records) => {
      await store(records);
      const database = await new Promise(
        (resolve) => (indexedDB.open('diptych').onsuccess = ({ target }) => resolve(target.result)),
      );
      const all = database.transaction('conversations').objectStore('conversations').getAll();
      return new Promise((resolve) => (all.onsuccess = () => resolve(all.result.length)));
    };
    const fine = await after([record([image(10)])]);
    const many = await after(Array.from({ length: 101 }, () => record([])));
    const large = await after([record([image(25e6)])]);
    const secret = await after([record([image(null, 'https://example.com/x.png?key=secret')])]);
    const open = await after([record([image(null, 'https://example.com/x.png')])]);
    for (let i = 0; i < 12; ++i) {
      sessionStorage.clear();
      await store([record([])]);
    }
    const others = await after([record([])]);
    sessionStorage.clear();
    return { fine, many, large, secret, open, others, foreign: (await load()).length };
  });
  assert.deepEqual(kept, { fine: 1, many: 0, large: 0, secret: 0, open: 1, others: 8, foreign: 0 });
});

test('an earlier turn is asked again or edited in its place, and its details are shown', async (t) => {
  const page = await open(t);
  await begin(page, 'What color is the circle?', 'Where is the star?');
  const last = page.locator('.thread .turn').last();
  await last.getByRole('button', { name: 'Edit' }).click();
  assert.equal(await page.locator('#question').inputValue(), 'Where is the star?');
  await page.locator('#editing-cancel').click();
  assert.equal(await page.locator('#editing').isVisible(), false);
  await last.getByRole('button', { name: 'Edit' }).click();
  const body = await sent(page, () => ask(page, 'What color is the star?'));
  assert.equal(body.messages.length, 3);
  await turns(page, 2);
  assert.deepEqual(await questions(page), ['What color is the circle?', 'What color is the star?']);
  await page.locator('.thread .turn').first().getByRole('button', { name: 'Details' }).click();
  assert.match(await page.locator('.measured').textContent(), /What color is the circle/);
  const again = await sent(page, () =>
    page.locator('.thread .turn').first().getByRole('button', { name: 'Ask again' }).click(),
  );
  assert.equal(again.messages.length, 1);
  await turns(page, 1);
});

test('a conversation goes on with one image more, and ends with the loss of one', async (t) => {
  const page = await open(t);
  await begin(page, 'What color is the circle?');
  await page.getByLabel('Several images').check();
  await page.locator('.sample').nth(1).click();
  await page.waitForFunction(() => document.querySelectorAll('.thumbnail').length === 2);
  const body = await sent(page, () => ask(page, 'How many squares are there?'));
  const images = body.messages.map(({ content }) =>
    typeof content === 'string' ? 0 : content.filter(({ type }) => type === 'image_url').length,
  );
  assert.deepEqual(images, [1, 0, 1]);
  await turns(page, 2);
  await page.getByRole('button', { name: 'Remove' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.thread .turn').length === 0);
});
