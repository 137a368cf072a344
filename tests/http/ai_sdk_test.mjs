// The Vercel AI SDK with its adapter for OpenAI-compatible servers; started by ai_sdk_test.py, which gives it a stack.
//
//   MODULES=folder of node_modules PORT=of HTTP IMAGE=file node --test ai_sdk_test.mjs
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';

const { MODULES, PORT, IMAGE } = process.env;
const require = createRequire(`${MODULES}/`);
const { generateText, streamText, APICallError, RetryError } = require('ai');
const { createOpenAICompatible } = require('@ai-sdk/openai-compatible');

const model = createOpenAICompatible({ name: 'diptych', baseURL: `http://127.0.0.1:${PORT}/v1`, includeUsage: true })('demo');
const messages = [{ role: 'user', content: [
  { type: 'text', text: 'What color is the circle?' }, { type: 'image', image: readFileSync(IMAGE) }] }];

test('a question about an image', async () => {
  const { text, finishReason, usage } = await generateText({ model, messages });
  assert.deepEqual([text, finishReason], ['red', 'stop']);
  assert.ok(usage.inputTokens > 0 && usage.outputTokens > 0);
});

test('a stream', async () => {
  const stream = streamText({ model, messages });
  let text = '';
  for await (const delta of stream.textStream) text += delta;
  assert.equal(text, 'red');
  assert.equal(await stream.finishReason, 'stop');
  assert.ok((await stream.usage).outputTokens > 0);
});

test('a conversation with a system message', async () => {
  const turns = [...messages, { role: 'assistant', content: 'red' }, { role: 'user', content: 'How many shapes are there?' }];
  const first = await generateText({ model, messages });
  const later = await generateText({ model, messages: turns, system: 'Be short.' });
  assert.ok(later.usage.inputTokens > first.usage.inputTokens);
});

test('an error keeps its status and its words', async () => {
  const broken = [{ role: 'user', content: [{ type: 'image', image: readFileSync(IMAGE).subarray(0, 300) }] }];
  const isRefusal = (error) => APICallError.isInstance(error) && error.statusCode === 400 && /PNG/.test(error.message);
  await assert.rejects(generateText({ model, messages: broken }), isRefusal);
  const failures = [];
  const stream = streamText({ model, messages: broken, onError: ({ error }) => failures.push(error) });
  for await (const _ of stream.textStream);
  assert.ok(failures.length === 1 && isRefusal(RetryError.isInstance(failures[0]) ? failures[0].lastError : failures[0]));
});

test('leaving cancels', async () => {
  const controller = new AbortController();
  const left = generateText({ model, messages, abortSignal: controller.signal });
  controller.abort();
  await assert.rejects(left, { name: 'AbortError' });
  assert.equal((await generateText({ model, messages })).text, 'red');
});
