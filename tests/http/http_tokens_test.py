"""Tokens of prompts and texts of tokens, in vLLM's words.

Usage: http_tokens_test.py FOLDER_OF_BINARIES; run by ctest as `http_tokens_test`.
"""
import pathlib
import tempfile

import asking
from asking import BINARIES, about
from http_stack import Stack, key_file

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
TOKENIZE = "/v1/tokenize"
DETOKENIZE = "/v1/detokenize"
MOST_IDS, MOST_PROMPTS, BIASES = 65_536, 64, 680  # biases: of all the vocabulary
TEXTS = ("the cat", " two  spaces\nand a line", "Grüße, 世界 🐱", "</s>", "<image>", "")


class TokensTest(asking.StackTest):
    def tokens(self, **body):
        status, _, reply = self.ask("POST", TOKENIZE, body)
        self.assertEqual((status, reply.get("count")), (200, len(reply.get("tokens", []))), reply)
        return reply["tokens"]

    def text(self, tokens):
        status, _, reply = self.ask("POST", DETOKENIZE, {"tokens": tokens})
        self.assertEqual(status, 200, reply)
        return reply["prompt"]

    def prompt_tokens(self, path, body):
        status, _, reply = self.ask("POST", path, body)
        self.assertEqual(status, 200, reply)
        return reply["usage"]["prompt_tokens"]

    def test_what_is_tokenized_comes_back(self):
        for text in TEXTS:
            self.assertEqual(self.text(self.tokens(prompt=text, add_special_tokens=False)), text)
            self.assertEqual(self.text(self.tokens(prompt=text)), text)

    def test_the_beginning_of_sequence_comes_first_unless_it_is_not_wanted(self):
        for text in TEXTS:
            bare = self.tokens(prompt=text, add_special_tokens=False)
            for wanted in ({}, {"add_special_tokens": True}, {"add_special_tokens": None}):
                self.assertEqual(self.tokens(prompt=text, **wanted)[1:], bare)

    def test_counts_what_a_completion_counts(self):
        for text in filter(None, TEXTS):
            tokens = self.tokens(model="demo", prompt=text)
            self.assertEqual(len(tokens), self.prompt_tokens(COMPLETIONS, {"prompt": text, "max_tokens": 1}))
            self.assertEqual(len(tokens), self.prompt_tokens(COMPLETIONS, {"prompt": tokens[1:], "max_tokens": 1}) + 1)

    def test_counts_what_a_chat_counts(self):
        question = about("What color is the circle?")["messages"]
        later = question + [{"role": "assistant", "content": "red"}, {"role": "user", "content": "Why?"}]
        image_alone = [{"role": "user", "content": question[0]["content"][:1]}]
        for messages in (question, later, image_alone, question + question, [{"role": "user", "content": "the cat"}],
                         [{"role": "system", "content": "Be short."}] + question):
            count = self.prompt_tokens(CHAT, {"messages": messages, "max_tokens": 1})
            self.assertEqual(len(self.tokens(messages=messages)), count)
            self.assertEqual(len(self.tokens(messages=messages, add_special_tokens=False, add_generation_prompt=True)), count)
        # An image is neither opened nor fetched.
        unseen = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.invalid/a.png"}},
                                               question[0]["content"][1]]}]
        self.assertEqual(self.tokens(messages=unseen), self.tokens(messages=question))

    def test_the_window_is_told(self):
        window = self.ask("GET", "/v1/diptych/status")[2]["model"]["window_tokens"]
        self.assertEqual(self.ask("POST", TOKENIZE, {"prompt": "x"})[2]["max_model_len"], window)
        self.assertGreater(len(self.tokens(prompt="the cat " * window)), window)

    def test_as_many_as_the_description_allows(self):
        ids = self.tokens(prompt="the cat ", add_special_tokens=False)
        many = (ids * MOST_IDS)[:MOST_IDS]
        self.assertTrue(self.text(many).startswith("the cat"))
        self.refused({"tokens": many + ids}, "tokens", "option_range", DETOKENIZE)
        self.refused({"prompt": many}, None, "context_length_exceeded", COMPLETIONS)
        self.refused({"prompt": [many] * MOST_PROMPTS}, None, "context_length_exceeded", COMPLETIONS)
        self.refused({"prompt": [ids, many + ids]}, "prompt", "invalid_value", COMPLETIONS)
        for biases in ({str(i): 1 for i in range(BIASES)}, [[i, 1] for i in range(BIASES)]):
            status, _, reply = self.ask("POST", COMPLETIONS, {"prompt": [ids * 25] * MOST_PROMPTS, "max_tokens": 1, "logit_bias": biases})
            self.assertEqual((status, len(reply.get("choices", []))), (200, MOST_PROMPTS), str(reply)[:500])

    def test_a_long_conversation_with_biases(self):
        turns = [{"role": role, "content": [{"type": "text", "text": "the cat"}]} for role in ("user", "assistant")] * 255
        turns.append({"role": "user", "content": "the cat"})
        status, _, reply = self.ask("POST", CHAT, {"messages": turns, "max_tokens": 1, "logit_bias": {str(i): 1 for i in range(BIASES)}})
        self.assertEqual(status, 200, reply)

    def test_paths_without_v1(self):
        for path in ("/tokenize", "/tokenize/"):
            self.assertEqual(self.ask("POST", path, {"prompt": "x"}, documented_as=TOKENIZE)[0], 200)
        self.assertEqual(self.ask("POST", "/detokenize", {"tokens": []}, documented_as=DETOKENIZE)[2], {"prompt": ""})
        self.assertEqual(self.ask("GET", "/tokenize", documented_as=TOKENIZE)[0], 405)

    def test_faults_name_the_member(self):
        vocabulary = 1 << 20
        user = [{"role": "user", "content": "x"}]
        for path, body, param, code in (
                (TOKENIZE, {}, "prompt", "invalid_value"),
                (TOKENIZE, {"prompt": 5}, "prompt", "invalid_value"),
                (TOKENIZE, {"prompt": ["x"]}, "prompt", "invalid_value"),
                (TOKENIZE, {"prompt": "x", "messages": user}, "prompt", "invalid_value"),
                (TOKENIZE, {"prompt": "x" * (70 << 10)}, "prompt", "option_range"),
                (TOKENIZE, {"prompt": "x", "add_special_tokens": "no"}, "add_special_tokens", "invalid_value"),
                (TOKENIZE, {"prompt": "x", "return_token_strs": True}, "return_token_strs", "unsupported_parameter"),
                (TOKENIZE, {"prompt": "x", "content": "x"}, "content", "unsupported_parameter"),
                (TOKENIZE, {"messages": user, "add_special_tokens": True}, "add_special_tokens", "unsupported_parameter"),
                (TOKENIZE, {"messages": user, "chat_template": "x"}, "chat_template", "unsupported_parameter"),
                (TOKENIZE, {"messages": []}, "messages", "invalid_value"),
                (TOKENIZE, {"messages": [{"role": "user", "content": [about("x")["messages"][0]["content"][0]] * 9}]},
                 None, "option_range"),
                (DETOKENIZE, {}, "tokens", "invalid_value"),
                (DETOKENIZE, {"tokens": "x"}, "tokens", "invalid_value"),
                (DETOKENIZE, {"tokens": [1, "x"]}, "tokens", "invalid_value"),
                (DETOKENIZE, {"tokens": [1, 2.5]}, "tokens", "invalid_value"),
                (DETOKENIZE, {"tokens": [-1]}, "tokens", "option_range"),
                (DETOKENIZE, {"tokens": [vocabulary]}, "tokens", "option_range")):
            with self.subTest(body=str(body)[:100]):
                self.refused(body, param, code, path)
                self.assertNotIn("token_ids", str(self.ask("POST", path, body)[2]))
        for path, body in ((TOKENIZE, {"prompt": "x"}), (DETOKENIZE, {"tokens": [1]})):
            status, _, reply = self.ask("POST", path, {"model": "other", **body})
            self.assertEqual((status, reply["error"]["code"]), (404, "model_not_found"))


class KeysTest(asking.Asking, asking.unittest.TestCase):
    def test_keys_and_their_rates_hold(self):
        with tempfile.TemporaryDirectory() as folder:
            keys = pathlib.Path(folder) / "keys.json"
            key_file(keys, ada={"tokens_per_minute": 20}, bob={"tokens_per_minute": 20})
            self.stack = Stack(BINARIES, [f"--api_keys_file={keys}"])
            try:
                for path, body in (("/tokenize", {"prompt": "x"}), ("/detokenize", {"tokens": [1]})):
                    status, _, reply = self.ask("POST", path, body, documented_as="/v1" + path)
                    self.assertEqual((status, reply["error"]["code"]), (401, "invalid_api_key"))
                for key, path, body in (("ada", TOKENIZE, {"prompt": "the cat " * 40}), ("bob", DETOKENIZE, {"tokens": [5] * 40})):
                    header = {"authorization": "Bearer " + key}
                    self.assertEqual(self.ask("POST", path, body, header)[0], 200)
                    status, headers, reply = self.ask("POST", path, body, header)
                    self.assertEqual((status, reply["error"]["code"]), (429, "rate_limited"))
                    self.assertGreater(int(headers["retry-after"]), 0)
            finally:
                self.assertEqual(self.stack.stop(), [0, 0, 0])


if __name__ == "__main__":
    asking.main()
