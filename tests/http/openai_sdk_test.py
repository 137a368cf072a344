"""OpenAI's own Python and Node clients as the judges of the HTTP surface.

Usage: openai_sdk_test.py FOLDER_OF_BINARIES; run by ctest as `openai_sdk_test`. The clients are looked for in .deps/openai and
.deps/openai_node, where `make test` installs them; without the first the test is skipped (exit status 77), without the
second its part.
"""
import base64
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import typing
import unittest

from http_stack import ROOT, SAMPLE, Stack, key_file

sys.path.insert(0, str(ROOT / ".deps" / "openai"))
try:
    import openai
    from openai.types.chat import completion_create_params
    from openai.types.responses import response_create_params
except ImportError as error:
    print(f"skipped: the openai package is not installed ({error}); scripts/setup.sh --tests installs it")
    sys.exit(77)

BINARIES = sys.argv[1]
NODE_MODULES = ROOT / ".deps" / "openai_node" / "node_modules"
IMAGE = "data:image/png;base64," + base64.b64encode(SAMPLE.read_bytes()).decode()
MESSAGES = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE}},
                                         {"type": "text", "text": "What color is the circle?"}]}]


class OpenAiSdkTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(BINARIES, ["--max_inflight=2"])
        cls.client = openai.OpenAI(base_url=f"http://127.0.0.1:{cls.stack.port}/v1", api_key="none", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.stack.stop()

    def chat(self, **options):
        return self.client.chat.completions.create(**{"model": "demo", "messages": MESSAGES, **options})

    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], ["demo"])
        self.assertEqual(self.client.models.retrieve("demo").id, "demo")

    def test_chat_with_an_image(self):
        answer = self.chat(logprobs=True, top_logprobs=3)
        self.assertEqual(answer.choices[0].message.content, "red")
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        first = answer.choices[0].logprobs.content[0]
        self.assertEqual(bytes(first.bytes).decode(), first.token)
        self.assertEqual(len(first.top_logprobs), 3)
        self.assertGreater(answer.diptych["timings"]["total"], 0)

    def test_stream_with_usage(self):
        text, usage, finished = "", None, None
        for chunk in self.chat(stream=True, stream_options={"include_usage": True}):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finished = choice.finish_reason or finished
        self.assertEqual((text, finished), ("red", "stop"))
        self.assertGreater(usage.completion_tokens, 0)

    def test_turns(self):
        turns = MESSAGES + [{"role": "assistant", "content": "red"}, {"role": "user", "content": "How many shapes are there?"}]
        self.assertGreater(self.chat(messages=turns).usage.prompt_tokens, self.chat().usage.prompt_tokens)

    def test_completions(self):
        answer = self.client.completions.create(model="demo", prompt="a red", max_tokens=4, logprobs=2, echo=True)
        self.assertTrue(answer.choices[0].text.startswith("a red"))
        logprobs = answer.choices[0].logprobs
        self.assertEqual(len(logprobs.tokens), answer.usage.total_tokens - 1)  # without the beginning of the sequence
        self.assertIsNone(logprobs.token_logprobs[0])
        self.assertEqual(logprobs.text_offset[0], 0)

    def respond(self, **options):
        parts = [{"type": "input_image", "image_url": IMAGE, "detail": "auto"}, {"type": "input_text", "text": "What color is the circle?"}]
        return {"model": "demo", "input": [{"role": "user", "content": parts}], **options}

    def test_responses(self):
        reply = self.client.responses.create(**self.respond(instructions="Be short.", max_output_tokens=20))
        self.assertEqual(reply.status, "completed")
        self.assertEqual(reply.usage.total_tokens, reply.usage.input_tokens + reply.usage.output_tokens)
        plain = self.client.responses.create(**self.respond())
        self.assertEqual(plain.output_text, "red")
        later = self.respond()["input"] + plain.output + [{"role": "user", "content": "How many shapes are there?"}]
        self.assertGreater(self.client.responses.create(model="demo", input=later).usage.input_tokens, plain.usage.input_tokens)
        with self.assertRaises(openai.BadRequestError) as raised:
            self.client.responses.create(model="demo", input="x", tools=[{"type": "web_search"}])
        self.assertEqual((raised.exception.param, raised.exception.code), ("tools", "unsupported_parameter"))

    def test_responses_as_a_stream(self):
        text = "".join(event.delta for event in self.client.responses.create(**self.respond(stream=True))
                       if event.type == "response.output_text.delta")
        self.assertEqual(text, "red")
        with self.client.responses.stream(**self.respond()) as stream:
            for _ in stream:
                pass
            self.assertEqual(stream.get_final_response().output_text, "red")

    def test_every_parameter_of_the_client_is_known(self):
        """One that is new to the client would be refused as of no known server, with other words."""
        for path, params, body in (("/chat/completions", completion_create_params.CompletionCreateParamsBase, {"messages": MESSAGES}),
                                   ("/responses", response_create_params.ResponseCreateParamsBase, {"input": "x"})):
            for name in typing.get_type_hints(params):
                try:
                    self.client.post(path, cast_to=object, body={**body, name: [{"unknown": 1}]})
                except openai.BadRequestError as error:
                    self.assertNotRegex(str(error), f'"{name}" is not supported here', (path, name))

    def test_error_classes(self):
        with self.assertRaises(openai.BadRequestError) as raised:
            self.chat(temperature=-1)
        self.assertEqual(raised.exception.param, "temperature")
        with self.assertRaises(openai.NotFoundError):
            self.chat(model="other")
        with self.assertRaises(openai.BadRequestError) as raised:
            self.client.completions.create(model="demo", prompt="a " * 5000)
        self.assertEqual(raised.exception.code, "context_length_exceeded")

    def test_a_full_server_is_asked_again(self):
        retrying = self.client.with_options(max_retries=30)
        answers, refusals = [], []

        def ask(client):
            try:
                answers.append(client.chat.completions.create(model="demo", messages=MESSAGES, n=2))
            except openai.RateLimitError as error:
                refusals.append(error)

        threads = [threading.Thread(target=ask, args=(retrying,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(answers), refusals), (6, []))
        self.assertEqual(len(self.chat(n=8).choices), 8)  # one request, whatever it asks for

    def test_a_full_server_says_when_to_come_back(self):
        refusals = []

        def ask(number):
            try:
                self.chat(max_tokens=100, extra_body={"ignore_eos": True})
            except openai.RateLimitError as error:
                refusals.append(int(error.response.headers["retry-after"]))

        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            list(pool.map(ask, range(200)))
        self.assertGreater(len(refusals), 0)
        self.assertGreaterEqual(min(refusals), 1)

    def test_leaving_a_stream_cancels_it(self):
        patient = self.client.with_options(max_retries=30)  # a place is free again some time after its caller left
        for _ in range(3):
            with patient.chat.completions.create(model="demo", messages=MESSAGES, stream=True, n=2) as stream:
                next(iter(stream))
        answer = patient.chat.completions.create(model="demo", messages=MESSAGES)
        self.assertEqual(answer.choices[0].message.content, "red")


class KeysTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        keys = pathlib.Path(cls.folder.name) / "keys.json"
        key_file(keys, good={}, spent={"tokens_per_minute": 1})
        cls.stack = Stack(BINARIES, ["--max_inflight=2", f"--api_keys_file={keys}"])
        cls.url = f"http://127.0.0.1:{cls.stack.port}/v1"

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()
        cls.folder.cleanup()

    def test_error_classes_of_keys(self):
        with openai.OpenAI(base_url=self.url, api_key="wrong", max_retries=0) as client:
            with self.assertRaises(openai.AuthenticationError) as raised:
                client.chat.completions.create(model="demo", messages=MESSAGES)
            self.assertEqual(raised.exception.code, "invalid_api_key")
        with openai.OpenAI(base_url=self.url, api_key="spent", max_retries=0) as client:
            client.chat.completions.create(model="demo", messages=MESSAGES)
            with self.assertRaises(openai.RateLimitError) as raised:
                client.chat.completions.create(model="demo", messages=MESSAGES)
            self.assertEqual(raised.exception.code, "rate_limited")

    def test_the_node_client_agrees(self):
        node = shutil.which("node")
        if node is None or not (NODE_MODULES / "openai").is_dir():
            self.skipTest("node or its openai package is not installed; scripts/setup.sh --tests installs them")
        ended = subprocess.run([node, "--test", ROOT / "tests" / "http" / "openai_sdk_test.mjs"], capture_output=True, text=True, timeout=200,
                               env=dict(os.environ, MODULES=str(NODE_MODULES), PORT=str(self.stack.port), KEY="good",
                                        IMAGE=str(SAMPLE)))
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        self.assertRegex(ended.stdout, r"pass [1-9]")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
