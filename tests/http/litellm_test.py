"""LiteLLM, with its own defaults, as a judge of the HTTP surface.

Usage: litellm_test.py FOLDER_OF_BINARIES; run by ctest as `litellm_test`. Needs the packages in .deps/litellm
(scripts/setup.sh --tests); without them the test is skipped (exit status 77).
"""
import base64
import os
import sys
import unittest

from http_stack import ROOT, SAMPLE, StackCase

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch a table of prices
sys.path.insert(0, str(ROOT / ".deps" / "litellm"))
try:
    import litellm
except ImportError as error:
    print(f"skipped: litellm is not installed ({error}); scripts/setup.sh --tests installs it")
    sys.exit(77)

IMAGE = "data:image/png;base64," + base64.b64encode(SAMPLE.read_bytes()).decode()
LOOK = {"role": "user", "content": [{"type": "text", "text": "What color is the circle?"},
                                    {"type": "image_url", "image_url": {"url": IMAGE}}]}


class LiteLlmTest(StackCase):
    def ask(self, *messages, **options):
        return litellm.completion(model="openai/demo", api_base=f"http://127.0.0.1:{self.stack.port}/v1", api_key="none",
                                  messages=list(messages), **options)

    def test_a_question_about_an_image(self):
        answer = self.ask(LOOK)
        self.assertEqual(answer.choices[0].message.content, "red")
        self.assertGreater(answer.usage.prompt_tokens, 16)

    def test_a_stream(self):
        self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in self.ask(LOOK, stream=True)), "red")

    def test_a_conversation(self):
        later = self.ask({"role": "system", "content": "Be short."}, LOOK, self.ask(LOOK).choices[0].message,
                         {"role": "user", "content": "How many shapes are there?"})
        self.assertGreater(later.usage.prompt_tokens, self.ask(LOOK).usage.prompt_tokens)

    def test_an_error(self):
        broken = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE[:400]}}]}
        for stream in (False, True):
            with self.assertRaises(litellm.BadRequestError):
                self.ask(broken, stream=stream)

    def test_a_prompt_that_is_too_long_is_known_as_that(self):
        for words in (500, 20_000):
            with self.assertRaises(litellm.ContextWindowExceededError):
                self.ask({"role": "user", "content": "word " * words})

    def test_leaving_a_stream_cancels_it(self):
        for _ in range(3):
            next(iter(self.ask(LOOK, stream=True)))
        self.assertEqual(self.ask(LOOK).choices[0].message.content, "red")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
