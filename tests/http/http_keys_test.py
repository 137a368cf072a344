"""API keys over HTTP.

Usage: http_keys_test.py FOLDER_OF_BINARIES; run by ctest as `http_keys_test`.
"""
import base64
import hashlib
import json
import pathlib
import tempfile
import time
import unittest

import asking
from asking import BINARIES, about
from http_stack import SAMPLE, Stack, key_file

UMLAUT = "schl\u00fcssel"  # whose hash is in the file, but which is no text that gRPC hands on


class KeysTest(asking.Asking, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.keys = pathlib.Path(cls.folder.name) / "keys.json"
        key_file(cls.keys, alice={}, spender={"tokens_per_minute": 1})
        file = json.loads(cls.keys.read_text())
        file["keys"]["umlaut"] = {"sha256": hashlib.sha256(UMLAUT.encode("latin-1")).hexdigest()}
        cls.keys.write_text(json.dumps(file))
        cls.stack = Stack(BINARIES, [f"--api_keys_file={cls.keys}", "--log_level=trace"])

    @classmethod
    def tearDownClass(cls):
        statuses, log = cls.stack.stop(), cls.stack.gateway_log()
        cls.folder.cleanup()
        assert statuses == [0, 0, 0]
        for private in ("alice", "spender", "mallory", "newcomer", cls.folder.name):
            assert private not in log, private

    def with_key(self, method, path, key, body=None, **headers):
        return self.ask(method, path, body, {"authorization": f"Bearer {key}", **headers})

    def assert_unauthorised(self, status, headers, answer):
        self.assertEqual(status, 401)
        self.assertEqual(headers["www-authenticate"], "Bearer")
        self.assertEqual(answer["error"]["code"], "invalid_api_key")
        self.assertEqual(answer["error"]["type"], "invalid_request_error")
        self.assertNotIn("mallory", answer["error"]["message"])

    def test_a_key_opens_what_is_asked_and_nothing_else_does(self):
        question = about("What color is the circle?")
        for path, body in {"/v1/chat/completions": question, "/v1/completions": {"prompt": "x", "max_tokens": 1},
                           "/v1/diptych/plan": {"prompt": "x"}}.items():
            self.assertEqual(self.with_key("POST", path, "alice", body)[0], 200)
            self.assert_unauthorised(*self.ask("POST", path, body))
            self.assert_unauthorised(*self.with_key("POST", path, "mallory", body))
            self.assert_unauthorised(*self.ask("POST", path, body, {"authorization": "alice"}))
        for path in ("/v1/models", "/v1/models/demo", "/v1/diptych/status"):
            self.assertEqual(self.with_key("GET", path, "alice")[0], 200)
            self.assert_unauthorised(*self.ask("GET", path))
        stream = self.with_key("POST", "/v1/chat/completions", "alice", {**question, "stream": True})[2]
        self.assertTrue(stream.endswith("data: [DONE]\n\n"))
        for key in ("\u00e9", UMLAUT):
            self.assert_unauthorised(*self.with_key("POST", "/v1/chat/completions", key, question))

    def test_health_and_metrics_stay_open(self):
        for path in ("/healthz/live", "/healthz/ready", "/metrics", "/"):
            status, _, text = self.ask("GET", path)
            self.assertEqual(status, 200)
            self.assertNotIn("alice", text)

    def test_no_body_is_read_of_who_has_no_key(self):
        head = (b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                b"content-length: 60000000\r\nexpect: 100-continue\r\n\r\n")
        self.assertTrue(self.raw(head).startswith(b"HTTP/1.1 401 "))

    def test_what_needs_no_key_takes_no_body_to_speak_of(self):
        for path in (b"/healthz/live", b"/metrics", b"/", b"/openapi.json"):
            for length in (b"content-length: 60000000", b"transfer-encoding: chunked"):
                head = b"GET " + path + b" HTTP/1.1\r\nhost: localhost\r\n" + length + b"\r\n\r\n"
                self.assertTrue(self.raw(head + b"8000\r\n" + b" " * 0x8000 + b"\r\n").startswith(b"HTTP/1.1 413 "), head)
        self.assertTrue(self.raw(b"GET /healthz/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}").startswith(b"HTTP/1.1 200 "))

    def test_over_its_tokens_a_key_is_told_when_to_come_back(self):
        body = {"prompt": "x", "max_tokens": 4}
        self.assertEqual(self.with_key("POST", "/v1/completions", "spender", body)[0], 200)
        status, headers, answer = self.with_key("POST", "/v1/completions", "spender", body)
        self.assertEqual((status, answer["error"]["code"]), (429, "rate_limited"))
        self.assertGreater(int(headers["retry-after"]), 60)

    def test_the_file_is_followed(self):
        def until(key, wanted):
            while self.with_key("GET", "/v1/models", key)[0] != wanted:
                time.sleep(0.05)
        key_file(self.keys, alice={}, spender={"tokens_per_minute": 1}, newcomer={})
        until("newcomer", 200)
        self.keys.write_text("{")
        while "the API keys stay as they were" not in self.stack.gateway_log():
            time.sleep(0.05)
        self.assertEqual(self.with_key("GET", "/v1/models", "newcomer")[0], 200)
        key_file(self.keys, alice={}, spender={"tokens_per_minute": 1})
        until("newcomer", 401)
        self.assertEqual(self.with_key("GET", "/v1/models", "alice")[0], 200)


class KeyedStackTest(asking.Asking, unittest.TestCase):
    """Starts the processes with keys and flags of the test."""

    def start(self, *flags, **limits_of_key):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        key_file(keys := pathlib.Path(folder.name) / "keys.json", **limits_of_key)
        self.stack = Stack(BINARIES, [f"--api_keys_file={keys}", *flags])
        self.addCleanup(self.stack.stop)

    def ask_as(self, key, path, body):
        return self.ask("POST", path, body, {"authorization": "Bearer " + key})


class CachesTest(KeyedStackTest):
    """How long an answer takes, and what it counts as cached, tells a key what was asked with it, and with no other."""

    QUESTION = about("the cat " * 40, max_tokens=1)

    def cached(self, key):
        """Whether the prompt's tokens, the image's visual tokens and its query tokens were in a cache."""
        status, _, reply = self.ask_as(key, "/v1/chat/completions", self.QUESTION)
        self.assertEqual(status, 200, reply)
        tokens, hits = reply["usage"]["prompt_tokens_details"]["cached_tokens"], reply["diptych"]["timings"]["cache_hits"]
        self.assertEqual(tokens, hits["kv_prefix"])
        return tokens > 0, hits["vision_tokens"] > 0 or hits["projected_tokens"] > 0

    def test_a_key_finds_its_own(self):
        self.start(ada={}, bob={}, carl={}, dora={}, eve={})
        self.assertEqual([self.cached(key) for key in ("ada", "ada", "bob", "bob")], [(False, False), (True, True)] * 2)
        self.find_what_an_analysis_brought()

    def find_what_an_analysis_brought(self):
        for key, queries, expected in (("carl", False, ("vision_tokens",)), ("dora", True, ("projected_tokens",)), ("eve", None, ())):
            if expected:
                body = {"image": asking.IMAGE, "qformer_attention": queries}
                self.assertEqual(self.ask_as(key, "/v1/diptych/analyze", body)[0], 200)
            hits = self.ask_as(key, "/v1/chat/completions", self.QUESTION)[2]["diptych"]["timings"]["cache_hits"]
            self.assertEqual(tuple(name for name, count in hits.items() if count), expected, key)

    def told(self, key):
        """What the server says of itself."""
        status = self.ask("GET", "/v1/diptych/status", None, {"authorization": "Bearer " + key})[2]
        return [tier["load"] for tier in status["tiers"]]

    def test_what_a_server_says_of_itself_tells_no_key_what_another_asked(self):
        self.start(ada={}, bob={})
        before = self.told("ada")
        for _ in range(2):
            self.cached("bob")
        self.assertEqual(self.told("ada"), before)

    def test_keys_share_them_where_the_operator_says_so(self):
        self.start("--shared_cache", ada={}, bob={})
        self.assertEqual([self.cached(key) for key in ("ada", "bob")], [(False, False), (True, True)])


class RatesTest(KeyedStackTest):
    def test_whatever_a_tier_computes_counts(self):
        paths = {"/v1/completions": {"prompt": "x", "max_tokens": 4}, "/v1/responses": {"input": "x", "max_output_tokens": 4},
                 "/v1/diptych/plan": {"prompt": "the cat " * 40}, "/v1/diptych/analyze": {"image": asking.IMAGE},
                 "/v1/tokenize": {"prompt": "the cat " * 40}, "/v1/detokenize": {"tokens": [5] * 40}}
        self.start(**{f"key{number}": {"tokens_per_minute": 1} for number in range(len(paths))})
        for number, (path, body) in enumerate(paths.items()):
            self.assertEqual(self.ask_as(f"key{number}", path, body)[0], 200, path)
            for other, other_body in paths.items():
                status, headers, reply = self.ask_as(f"key{number}", other, other_body)
                self.assertEqual((status, reply["error"]["code"]), (429, "rate_limited"), f"{other} after {path}")
                self.assertGreater(int(headers["retry-after"]), 0)


class ChoicesWithLargeImagesTest(asking.Asking, unittest.TestCase):
    """Each choice takes memory for its images: as many run at a time as the key's part has room for."""

    def test_all_are_answered(self):
        image = "data:image/png;base64," + base64.b64encode(SAMPLE.read_bytes().ljust(1_000_000, b"x")).decode()
        parts = [{"type": "image_url", "image_url": {"url": image}}] * 2 + [{"type": "text", "text": "What color is the circle?"}]
        body = {"messages": [{"role": "user", "content": parts}], "n": 8, "max_tokens": 2}
        with tempfile.TemporaryDirectory() as folder:
            key_file(keys := pathlib.Path(folder) / "keys.json", alice={})
            self.stack = Stack(BINARIES, [f"--api_keys_file={keys}", "--max_image_bytes=1048576", "--max_inflight_bytes=12582912"])
            try:
                for stream in (False, True):
                    status, _, reply = self.ask("POST", "/v1/chat/completions", {**body, "stream": stream}, {"authorization": "Bearer alice"})
                    self.assertEqual(status, 200, reply)
                    self.assertEqual(reply.count('"finish_reason":"') if stream else len(reply["choices"]), 8)
            finally:
                self.stack.stop()


if __name__ == "__main__":
    asking.main()
