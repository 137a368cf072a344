// Images and where they come from.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ORIGIN, SAMPLE, analysed, announced, answered, ask, audit, drop, hasFocus, open, said } from './browser.mjs';

const notice = (page) => page.locator('#image-notice').textContent();
const planned = (page, words) =>
  page.waitForFunction(
    (wanted) => document.querySelector('#budget .budget-words')?.textContent.includes(wanted),
    words,
  );
const isEmpty = (page) => page.waitForSelector('#stage-empty', { state: 'visible' });

// Drops a JPEG of width x height that the browser made, with an EXIF orientation.
const dropJpeg = (page, how) =>
  drop(
    page,
    async (transfer, { width, height, orientation }) => {
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext('2d');
      context.fillStyle = '#c33';
      context.fillRect(0, 0, width / 2, height);
      const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: 'image/jpeg' })).arrayBuffer());
      const tiff = [0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 1, 18, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0];
      const exif = [0xff, 0xe1, 0, tiff.length + 8, 0x45, 0x78, 0x69, 0x66, 0, 0, ...tiff];
      const parts = [bytes.slice(0, 2), new Uint8Array(exif), bytes.slice(2)];
      transfer.items.add(new File(parts, 'photo.jpg', { type: 'image/jpeg' }));
    },
    how,
  );

test('a file that is no image is refused with what to do', async (t) => {
  const page = await open(t);
  await page
    .locator('#file')
    .setInputFiles({ name: 'notes.png', mimeType: 'image/png', buffer: Buffer.from('no image') });
  await page.waitForSelector('#image-notice .notice-error');
  assert.match(await notice(page), /notes\.png is not an image that can be shown.*PNG, JPEG, WebP or GIF/s);
});

// Cuts images on their way, once `until` resolves, so that the server refuses what the browser could open.
const damage = (page, until = null) =>
  page.route('**/v1/diptych/analyze', async (route) => {
    const body = route.request().postDataJSON();
    await until;
    await route.continue({ postData: JSON.stringify({ ...body, image: body.image.slice(0, -400) }) });
  });
const sample = (name) => ({ name, mimeType: 'image/webp', buffer: readFileSync(SAMPLE) });

test('an image that the server refuses is neither counted, shown nor sent', async (t) => {
  const page = await open(t);
  await damage(page);
  await page.locator('#file').setInputFiles(sample('half.webp'));
  await page.waitForSelector('#image-notice .notice-error');
  assert.match(await notice(page), /half\.webp is refused: the WebP ends before/);
  await isEmpty(page);
  await planned(page, 'text');
  assert.doesNotMatch(await page.locator('#budget').textContent(), /\d+ image/);
  const [request] = await Promise.all([page.waitForRequest('**/v1/chat/completions'), ask(page, 'hello')]);
  assert.ok(!request.postData().includes('base64'));
  await answered(page);
});

test('a question that is asked before its image turns out to be refused is not sent, and kept', async (t) => {
  const page = await open(t),
    sent = [];
  let release;
  await damage(page, new Promise((resolve) => (release = resolve)));
  page.on('request', (request) => request.url().endsWith('/completions') && sent.push(request));
  await page.locator('#question').fill('What is this?');
  await page.locator('#file').setInputFiles(sample('half.webp'));
  await page.waitForSelector('#stage-empty', { state: 'hidden' });
  await page.locator('#question').press('Enter');
  await page.waitForSelector('#stop:enabled');
  release();
  await announced(page, 'Not asked');
  assert.deepEqual(sent, []);
  assert.equal(await page.locator('#question').inputValue(), 'What is this?');
});

test('an image in a form that the server does not take is converted, and it is said', async (t) => {
  const page = await open(t);
  const bmp = Buffer.concat([
    Buffer.from(
      '424d3a0000000000000036000000280000000100000001000000010018000000000004000000130b0000130b00000000000000000000',
      'hex',
    ),
    Buffer.from('0000ff00', 'hex'),
  ]);
  await page.locator('#file').setInputFiles({ name: 'dot.bmp', mimeType: 'image/bmp', buffer: bmp });
  await page.waitForFunction(() => document.getElementById('image-notice')?.textContent !== '');
  assert.match(await notice(page), /dot\.bmp/);
});

test('a large photograph is turned as its EXIF says and shrunk, and the original can be sent', async (t) => {
  const page = await open(t);
  await dropJpeg(page, { width: 4032, height: 3024, orientation: 6 });
  await analysed(page);
  assert.match(await notice(page), /photo\.jpg was shrunk here: from 3024 × 4032, .* to 1536 × 2048, /);
  assert.equal(await page.locator('.step strong').first().textContent(), '1536 × 2048');
  await ask(page, '');
  await answered(page);
  await audit(page, 'shrunk photograph');
  await page.getByRole('button', { name: 'Send the original' }).click();
  await page.waitForFunction(() => document.querySelector('.step strong')?.textContent === '3024 × 4032');
  await page.waitForSelector('#image-notice .notice', { state: 'detached' });
  await hasFocus(page, '#choose');
  await analysed(page);
  await dropJpeg(page, { width: 4032, height: 3024, orientation: 1 });
  await analysed(page);
  await page.getByRole('button', { name: 'Send the original' }).evaluate((button) => {
    button.focus();
    button.click();
    document.getElementById('question').focus(); // while the original is read
  });
  await page.waitForSelector('#image-notice .notice', { state: 'detached' });
  await hasFocus(page, '#question');
});

test('a photograph is shrunk until a server with low limits takes it, or it is said that none fits', async (t) => {
  const page = await open(t);
  const read = (limits) =>
    page.evaluate(async (given) => {
      const { readImage } = await import('/playground/image/reading.js');
      const canvas = new OffscreenCanvas(1600, 1200);
      const noise = canvas.getContext('2d').createImageData(1600, 1200);
      for (let i = 0; i < noise.data.length; ++i) noise.data[i] = i % 4 === 3 ? 255 : (i * i) % 251;
      canvas.getContext('2d').putImageData(noise, 0, 0);
      const blob = await canvas.convertToBlob({ type: 'image/jpeg', quality: 1 });
      const image = await readImage(blob, 'x.jpg', { limits: given }).catch((error) => error);
      return { title: image.title, size: image.blob?.size, width: image.width, original: image.original?.width };
    }, limits);
  const pixels = await read({ bytes: 1e9, pixels: 800_000, side: 8192 });
  assert.deepEqual([pixels.width, pixels.original], [1024, 1600]);
  const bytes = await read({ bytes: 150_000, pixels: 1e9, side: 8192 });
  assert.ok(bytes.size <= 150_000 && bytes.width < 1600, JSON.stringify(bytes));
  assert.match((await read({ bytes: 100, pixels: 1e9, side: 8192 })).title, /x\.jpg is too large/);
});

test('several images go with one question, are shown one by one, and can be removed', async (t) => {
  const page = await open(t);
  await page.locator('#file').setInputFiles([sample('one.webp'), sample('two.webp')]);
  await page.waitForFunction(() => document.querySelectorAll('.thumbnail').length === 2);
  assert.equal(await page.getByLabel('Several images').isChecked(), true);
  await page.locator('.sample').nth(2).click();
  await page.waitForFunction(() => document.querySelectorAll('.thumbnail').length === 3);
  await planned(page, '48 image');
  await analysed(page);
  await audit(page, 'three images');
  await page.locator('.thumbnail').first().focus();
  await page.keyboard.press('Enter');
  assert.match(await page.locator('#canvas').getAttribute('aria-label'), /^one\.webp/);
  const [request] = await Promise.all([
    page.waitForRequest('**/v1/chat/completions'),
    ask(page, 'What color is the circle?'),
  ]);
  assert.equal(request.postDataJSON().messages[0].content.filter(({ type }) => type === 'image_url').length, 3);
  await answered(page);
  await page.getByRole('button', { name: 'Remove' }).click();
  await planned(page, '32 image');
  await page.getByLabel('Several images').uncheck();
  await page.waitForSelector('#thumbnails', { state: 'hidden' });
  await planned(page, '16 image');
});

test('of several files, those that are images are taken, and the other is told', async (t) => {
  const page = await open(t);
  const broken = { name: 'notes.png', mimeType: 'image/png', buffer: Buffer.from('no image') };
  await page.locator('#file').setInputFiles([sample('one.webp'), broken, sample('two.webp')]);
  await page.waitForSelector('#image-notice .notice-error');
  assert.match(await notice(page), /notes\.png is not an image/);
  assert.equal(await page.locator('.thumbnail').count(), 2);
});

test('more images than a question takes are left out, and it is said', async (t) => {
  const page = await open(t);
  await page.locator('#file').setInputFiles(Array.from({ length: 10 }, (_, i) => sample(`${i}.webp`)));
  await page.waitForFunction(() => document.querySelectorAll('.thumbnail').length === 8);
  assert.match(await notice(page), /8 images at most: 2 left out/);
  await analysed(page);
  assert.equal(await page.locator('.thumbnail').count(), 8); // none was refused for coming with the others
  assert.doesNotMatch(await notice(page), /Not analysed/);
});

const dropAddress = (page, address) =>
  drop(page, (transfer, value) => transfer.setData('text/uri-list', value), address);

test('an image by address, typed or dropped from another page, is refused in clear words where it is not allowed', async (t) => {
  const page = await open(t);
  await page.getByRole('button', { name: 'By address' }).click();
  await page.keyboard.type('https://example.com/cat.png');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#image-notice .notice-error');
  assert.match(await notice(page), /This server does not fetch images by address: save the image and drop the file/);
  await isEmpty(page);
  await audit(page, 'address');
  await dropAddress(page, 'https://example.com/cat.png');
  await announced(page, 'cat.png is refused');
  for (const address of ['http://example.com/cat.png', 'ftp://x/y.png', 'nothing', 'javascript:alert(1)']) {
    await dropAddress(page, address);
    await page.waitForFunction(() =>
      /Only https|not the address/.test(document.getElementById('image-notice')?.textContent),
    );
    await isEmpty(page);
  }
});

test('an image by address is analysed, asked about and shown as the server saw it where that is allowed', async (t) => {
  const page = await open(t);
  const address = 'https://example.com/photos/star.webp';
  const bytes = `data:image/webp;base64,${readFileSync(SAMPLE).toString('base64')}`;
  const asked = [];
  await page.route(`${ORIGIN}/v1/**`, async (route) => {
    const body = route.request().postData();
    if (body?.includes(address)) asked.push(new URL(route.request().url()).pathname);
    await route.continue(body ? { postData: body.replaceAll(address, bytes) } : {}); // in the place of the server's own fetch
  });
  await drop(
    page,
    (transfer, value) =>
      transfer.setData('text/html', `<img src="${value}" alt="">`) ?? transfer.setData('text/uri-list', value),
    address,
  );
  await analysed(page);
  assert.match(await page.locator('#canvas').getAttribute('aria-label'), /^star\.webp as the model sees it/);
  assert.equal(await page.locator('.step strong').first().textContent(), '224 × 224');
  await ask(page, 'What color is the circle?');
  await answered(page);
  assert.equal(await said(page), 'red');
  assert.deepEqual(asked, ['/v1/diptych/analyze', '/v1/chat/completions']);
});

test('a dropped data: address is taken as the file that it is', async (t) => {
  const page = await open(t);
  await dropAddress(page, `data:image/webp;base64,${readFileSync(SAMPLE).toString('base64')}`);
  await analysed(page);
  await ask(page, 'What color is the circle?');
  await answered(page);
  assert.equal(await said(page), 'red');
});

test('an image that could not be analysed is analysed by itself when the tiers are back', async (t) => {
  const page = await open(t);
  await page.context().setOffline(true);
  await page.waitForSelector('.tier-gateway.tier-bad');
  await page.locator('#file').setInputFiles(sample('one.webp'));
  await page.waitForSelector('#image-notice .notice-warning');
  assert.match(await notice(page), /Not analysed yet:.*tried again by itself/s);
  assert.equal(await page.locator('#stage-empty').isVisible(), false); // it is not refused
  await page.context().setOffline(false);
  await analysed(page);
  await page.waitForSelector('#image-notice .notice', { state: 'detached' });
});
