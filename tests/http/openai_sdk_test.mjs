// OpenAI's own Node client as a judge of the HTTP surface; started by openai_sdk_test.py, which gives it a stack with
// --max_inflight=2 and API keys.
//
//   MODULES=folder of node_modules PORT=of HTTP KEY=that opens it IMAGE=file node openai_sdk_test.mjs
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';

const { MODULES, PORT, KEY, IMAGE } = process.env;
const openai = createRequire(`${MODULES}/`)('openai');
const { OpenAI } = openai;

const baseURL = `http://127.0.0.1:${PORT}/v1`;
const client = new OpenAI({ baseURL, apiKey: KEY, maxRetries: 0 });
const patient = new OpenAI({ baseURL, apiKey: KEY, maxRetries: 30 });
const url = `data:image/png;base64,${readFileSync(IMAGE).toString('base64')}`;
const messages = [{ role: 'user', content: [{ type: 'image_url', image_url: { url } },
                                            { type: 'text', text: 'What color is the circle?' }] }];
const ask = (options = {}, from = patient) => from.chat.completions.create({ model: 'demo', messages, ...options });

test('models', async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.deepEqual(ids, ['demo']);
});

test('chat with an image', async () => {
  const answer = await ask({ logprobs: true, top_logprobs: 2 });
  assert.equal(answer.choices[0].message.content, 'red');
  assert.equal(answer.choices[0].finish_reason, 'stop');
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  assert.equal(answer.choices[0].logprobs.content[0].top_logprobs.length, 2);
  assert.ok(answer.diptych.timings.total > 0);
  assert.ok(answer._request_id);
});

test('stream with usage', async () => {
  let text = '', usage = null, finished = null;
  for await (const chunk of await ask({ stream: true, stream_options: { include_usage: true } })) {
    usage = chunk.usage ?? usage;
    for (const choice of chunk.choices) {
      text += choice.delta.content ?? '';
      finished = choice.finish_reason ?? finished;
    }
  }
  assert.deepEqual([text, finished], ['red', 'stop']);
  assert.ok(usage.completion_tokens > 0);
});

test('a conversation', async () => {
  const turns = [...messages, { role: 'assistant', content: 'red' }, { role: 'user', content: 'How many shapes are there?' }];
  const first = await ask(), later = await ask({ messages: turns });
  assert.ok(later.usage.prompt_tokens > first.usage.prompt_tokens);
  assert.ok(later.choices[0].message.content);
});

test('responses, whole and streamed', async () => {
  const body = { model: 'demo', input: [{ role: 'user', content: [
    { type: 'input_image', image_url: url, detail: 'auto' }, { type: 'input_text', text: 'What color is the circle?' }] }] };
  const reply = await patient.responses.create(body);
  assert.deepEqual([reply.output_text, reply.status], ['red', 'completed']);
  assert.equal(reply.usage.total_tokens, reply.usage.input_tokens + reply.usage.output_tokens);
  let text = '';
  for await (const event of await patient.responses.create({ ...body, stream: true })) text += event.type === 'response.output_text.delta' ? event.delta : '';
  assert.equal(text, 'red');
  assert.equal((await patient.responses.stream(body).finalResponse()).output[0].content[0].text, 'red');
});

test('error classes', async () => {
  await assert.rejects(ask({ temperature: -1 }), (error) =>
    error instanceof openai.BadRequestError && error.status === 400 && error.param === 'temperature');
  await assert.rejects(ask({ tools: [{}] }), (error) => error.code === 'unsupported_parameter');
  await assert.rejects(ask({ model: 'other' }), openai.NotFoundError);
  await assert.rejects(ask({ messages: [{ role: 'user', content: 'a '.repeat(5000) }] }), (error) => error.code === 'context_length_exceeded');
  await assert.rejects(ask({}, new OpenAI({ baseURL, apiKey: 'wrong' })), (error) =>
    error instanceof openai.AuthenticationError && error.code === 'invalid_api_key');
});

test('a full server is asked again', async () => {
  const answers = await Promise.all(Array.from({ length: 6 }, () => ask({ n: 2 })));
  assert.equal(answers.length, 6);
  assert.equal((await ask({ n: 8 }, client)).choices.length, 8);  // one request, whatever it asks for
  // More requests at once than the server takes, waiting ones included.
  await assert.rejects(Promise.all(Array.from({ length: 40 }, () => ask({ max_tokens: 100, ignore_eos: true }, client))), (error) =>
    error instanceof openai.RateLimitError && Number(error.headers.get('retry-after')) >= 1);
});

test('leaving a stream cancels it', async () => {
  for (let i = 0; i < 3; ++i) {
    const stream = await ask({ stream: true, n: 2 });
    for await (const _ of stream) break;  // which aborts the request
  }
  const controller = new AbortController();
  const left = patient.chat.completions.create({ model: 'demo', messages, n: 2 }, { signal: controller.signal });
  controller.abort();
  await assert.rejects(left, openai.APIUserAbortError);
  const answer = await ask();
  assert.equal(answer.choices[0].message.content, 'red');
});
