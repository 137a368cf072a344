"""LangChain's ChatOpenAI, with its own defaults, as a judge of the HTTP surface.

Usage: langchain_test.py FOLDER_OF_BINARIES; run by ctest as `langchain_test`. Needs the packages in .deps/langchain
(scripts/setup.sh --tests); without them the test is skipped (exit status 77).
"""
import base64
import sys
import unittest

from http_stack import ROOT, SAMPLE, StackCase

sys.path.insert(0, str(ROOT / ".deps" / "langchain"))
try:
    import openai
    from langchain_core.exceptions import ContextOverflowError
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
    from langchain_openai import ChatOpenAI
except ImportError as error:
    print(f"skipped: langchain-openai is not installed ({error}); scripts/setup.sh --tests installs it")
    sys.exit(77)

IMAGE = "data:image/png;base64," + base64.b64encode(SAMPLE.read_bytes()).decode()
LOOK = HumanMessage([{"type": "text", "text": "What color is the circle?"}, {"type": "image_url", "image_url": {"url": IMAGE}}])
# LangChain's own form of the same.
NATIVE = HumanMessage([{"type": "text", "text": "What color is the circle?"},
                       {"type": "image", "base64": IMAGE.partition(",")[2], "mime_type": "image/png"}])


class LangChainTest(StackCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.options = {"model": "demo", "base_url": f"http://127.0.0.1:{cls.stack.port}/v1", "api_key": "none"}
        cls.chat = ChatOpenAI(**cls.options)

    def test_a_question_about_an_image(self):
        for message in (LOOK, NATIVE):
            answer = self.chat.invoke([message])
            self.assertEqual(answer.content, "red")
            self.assertGreater(answer.usage_metadata["input_tokens"], 16)

    def test_a_stream(self):
        self.assertEqual("".join(chunk.content for chunk in self.chat.stream([LOOK])), "red")

    def test_a_conversation(self):
        turns = [SystemMessage("Be short."), LOOK, AIMessage("red"), HumanMessage("How many shapes are there?")]
        self.assertGreater(self.chat.invoke(turns).usage_metadata["input_tokens"], self.chat.invoke([LOOK]).usage_metadata["input_tokens"])

    def test_the_newer_api(self):
        chat = ChatOpenAI(use_responses_api=True, **self.options)
        self.assertEqual(chat.invoke([LOOK]).text, "red")
        self.assertEqual("".join(chunk.text for chunk in chat.stream([LOOK])), "red")

    def test_an_error(self):
        with self.assertRaises(openai.BadRequestError) as raised:
            self.chat.invoke([HumanMessage([{"type": "image_url", "image_url": {"url": IMAGE[:400]}}])])
        self.assertEqual(raised.exception.param, "messages[0].content[0].image_url.url")

    def test_a_prompt_that_is_too_long_is_known_as_that(self):
        for chat, words in ((self.chat, 500), (self.chat, 20_000), (ChatOpenAI(use_responses_api=True, **self.options), 500)):
            with self.assertRaises(ContextOverflowError):
                chat.invoke([HumanMessage("word " * words)])

    def test_leaving_a_stream_cancels_it(self):
        for _ in range(3):
            stream = self.chat.stream([LOOK])
            next(stream)
            stream.close()
        self.assertEqual(self.chat.invoke([LOOK]).content, "red")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
