"""LlamaIndex's OpenAILike, with its own defaults, as a judge of the HTTP surface.

Usage: llamaindex_test.py FOLDER_OF_BINARIES; run by ctest as `llamaindex_test`. Needs the packages in .deps/llamaindex
(scripts/setup.sh --tests); without them the test is skipped (exit status 77).
"""
import sys
import unittest

from http_stack import ROOT, SAMPLE, StackCase

sys.path.insert(0, str(ROOT / ".deps" / "llamaindex"))
try:
    import openai
    from llama_index.core.llms import ChatMessage, ImageBlock, MessageRole, TextBlock
    from llama_index.llms.openai_like import OpenAILike
except ImportError as error:
    print(f"skipped: llama-index-llms-openai-like is not installed ({error}); scripts/setup.sh --tests installs it")
    sys.exit(77)

LOOK = ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text="What color is the circle?"), ImageBlock(path=SAMPLE)])


class LlamaIndexTest(StackCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.options = {"model": "demo", "api_base": f"http://127.0.0.1:{cls.stack.port}/v1", "api_key": "none"}
        cls.llm = OpenAILike(is_chat_model=True, **cls.options)

    def test_a_question_about_an_image(self):
        answer = self.llm.chat([LOOK])
        self.assertEqual(answer.message.content, "red")
        self.assertGreater(answer.raw.usage.prompt_tokens, 16)

    def test_a_stream(self):
        pieces = list(self.llm.stream_chat([LOOK]))
        self.assertEqual("".join(piece.delta or "" for piece in pieces), "red")
        self.assertEqual(pieces[-1].message.content, "red")

    def test_a_conversation(self):
        turns = [ChatMessage(role=MessageRole.SYSTEM, content="Be short."), LOOK, self.llm.chat([LOOK]).message,
                 ChatMessage(role=MessageRole.USER, content="How many shapes are there?")]
        later = self.llm.chat(turns)
        self.assertGreater(later.raw.usage.prompt_tokens, self.llm.chat([LOOK]).raw.usage.prompt_tokens)

    def test_completions(self):
        llm = OpenAILike(**self.options, temperature=0)  # not a chat model, which is the default; two answers alike
        whole = llm.complete("Question: What color is the sky? Answer:").text
        self.assertTrue(whole)
        self.assertEqual("".join(piece.delta for piece in llm.stream_complete("Question: What color is the sky? Answer:")), whole)

    def test_an_error(self):
        broken = ChatMessage(role=MessageRole.USER, blocks=[ImageBlock(image=SAMPLE.read_bytes()[:300], image_mimetype="image/png")])
        with self.assertRaises(openai.BadRequestError) as raised:
            self.llm.chat([broken])
        self.assertEqual(raised.exception.param, "messages[0].content[0].image_url.url")
        with self.assertRaises(openai.BadRequestError):
            list(self.llm.stream_chat([broken]))

    def test_leaving_a_stream_cancels_it(self):
        for _ in range(3):
            next(iter(self.llm.stream_chat([LOOK])))
        self.assertEqual(self.llm.chat([LOOK]).message.content, "red")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
