"""Every path of the HTTP surface and every kind of failure: OpenAI's envelope with a word that programs can switch on.

Usage: http_errors_test.py FOLDER_OF_BINARIES; run by ctest as `http_errors_test`.
"""
import base64
import signal
import threading

import asking
from asking import about
from http_stack import SAMPLE, KeyedStack

IMAGE = base64.b64encode(SAMPLE.read_bytes()).decode()
CHAT, PLAN, ANALYZE = "/v1/chat/completions", "/v1/diptych/plan", "/v1/diptych/analyze"
POSTS = {CHAT: about("What color is the circle?"), "/v1/completions": {"prompt": "a"}, "/v1/responses": {"input": "a"},
         "/v1/tokenize": {"prompt": "a"}, "/v1/detokenize": {"tokens": [5]}, ANALYZE: {"image": IMAGE},
         PLAN: {"prompt": "a", "windows": [100]}}
GETS = ("/v1/models", "/v1/models/demo", "/v1/diptych/status", "/version", "/metrics", "/openapi.json", "/")


class Errors(asking.Asking):
    def fails(self, status, code, method, path, body=None, headers=None, documented_as=None):
        with self.subTest(method=method, path=path, code=code):
            return self.is_failure(status, code, *self.ask(method, path, body, headers, documented_as))

    def is_failure(self, status, code, got, got_headers, reply):
        self.assertEqual((got, got_headers["content-type"]), (status, "application/json"), reply)
        self.assertEqual(set(reply["error"]), {"message", "type", "param", "code"})
        self.assertEqual(reply["error"]["code"], code, reply)
        self.assertTrue(reply["error"]["message"])
        for word in ("grpc", "GatewayService", "question.", "generation.", "INVALID_ARGUMENT", "UNAVAILABLE", "<"):
            self.assertNotIn(word, reply["error"]["message"])
        if status in (429, 503):
            self.assertGreaterEqual(int(got_headers["retry-after"]), 1)
        return reply["error"]


class ErrorsTest(Errors, asking.StackTest):
    def test_what_is_no_json(self):
        for path in POSTS:
            for body in (b"", b"{", b"[]", b"null", b'{"a": 1, "a": 2}', b'{"a": "\xff"}', b"[" * 100 + b"]" * 100, b'{"a": NaN}'):
                self.fails(400, "invalid_json", "POST", path, body)

    def test_a_body_that_is_empty(self):
        for path in POSTS:
            for body in (b"", b" ", b"\r\n\t "):
                self.assertEqual(self.fails(400, "invalid_json", "POST", path, body)["message"], "the body is empty; a JSON object is wanted")

    def test_members_that_nobody_knows(self):
        for path, body in POSTS.items():
            code = "invalid_value" if path == PLAN else "unsupported_parameter"
            self.assertEqual(self.fails(400, code, "POST", path, body | {"no_such_member": 1})["param"], "no_such_member")
        self.assertEqual(self.fails(400, "invalid_value", "POST", PLAN, {"prompt": "a", "windows": ["x"]})["param"], "windows")

    def test_models_that_are_not_served(self):
        for path, body in POSTS.items():
            if path not in (PLAN, ANALYZE):
                self.fails(404, "model_not_found", "POST", path, body | {"model": "other"})
        self.fails(404, "model_not_found", "GET", "/v1/models/other", documented_as="/v1/models/{model}")

    def test_other_methods_and_bodies(self):
        for path in POSTS:
            for method in ("GET", "PUT", "DELETE", "PATCH"):
                self.fails(405, "method_not_allowed", method, path)
            for headers in ({"content-type": "text/plain"}, {"content-type": "application/jsonx"}, {"content-encoding": "gzip"}):
                self.fails(415, "unsupported_content", "POST", path, b"{}", headers)
            for body in (None, b""):
                self.assertIn("empty", self.fails(400, "invalid_json", "POST", path, body, {"content-type": ""})["message"])
            self.assertIn("there is none", self.fails(415, "unsupported_content", "POST", path, b"{}", {"content-type": ""})["message"])
        for path in GETS:
            self.fails(405, "method_not_allowed", "POST", path, b"{}")

    def test_paths_where_there_is_nothing(self):
        for method, path in (("GET", "/v1"), ("POST", "/v1/embeddings"), ("POST", "/api/chat"), ("OPTIONS", "/nope"), ("GET", "/docs")):
            self.fails(404, "unknown_path", method, path, b"{}" if method == "POST" else None)
        for path in ("/api/chat", "/v1/v1/chat/completions", "/v1/chat/completions/chat/completions"):
            self.assertIn("did you mean /v1/chat/completions?", self.fails(404, "unknown_path", "POST", path, b"{}")["message"])
        self.assertEqual(self.fails(404, "unknown_path", "GET", "/v1/responses/resp_1")["message"],
                         "there is nothing at this path: nothing is kept between requests; /openapi.json lists the paths")

    def test_what_comes_before_a_path_is_known(self):
        for request, code in ((b"nonsense\r\n\r\n", b"invalid_request"), (b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", b"header_too_large"),
                              (b"GET / HTTP/1.1\r\nhost: other.example\r\n\r\n", b"forbidden"),
                              (b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n",
                               b"request_too_large")):
            self.assertIn(b'"code":"' + code + b'"', self.raw(request))

    def test_the_value_that_does_not_fit_is_shown(self):
        for body, words in (({"n": "2"}, 'n: takes a whole number, not "2"'), ({"n": 9}, "n: takes 1 to 8, not 9"),
                            ({"max_tokens": "16"}, 'max_tokens: takes a whole number, not "16"'),
                            ({"max_tokens": 0}, "max_tokens takes 1 or more, not 0"), ({"max_tokens": []}, "not a list"),
                            ({"top_p": 2}, "top_p takes more than 0, at most 1, not 2"), ({"temperature": -1}, "temperature takes 0 to 100, not -1"),
                            ({"temperature": "hot"}, 'temperature: takes a number, not "hot"'), ({"stream": "true"}, 'stream: takes true or false, not "true"'),
                            ({"seed": 2**64}, "seed: takes a whole number of at most 64 bits"), ({"top_k": 2**40}, "top_k: takes a whole number of at most 2147483647"),
                            ({"image_options": {"image_size": 0}}, "image_size takes a multiple of the patch size, at most 1024, not 0"),
                            ({"stop": ["a"] * 9}, "stop takes at most 8 strings, not 9"), ({"logit_bias": {"5": 101}}, "values of -100 to 100, not 101"),
                            ({"stop_token_ids": [-1]}, "token ids of 0 and more, not -1"), ({"min_tokens": 9, "max_tokens": 3}, "min_tokens takes at most max_tokens, not 9"),
                            ({"user": "x" * 100, "model": 5}, "model: takes a string, not 5")):
            with self.subTest(body):
                self.assertIn(words, self.ask("POST", CHAT, about("x", **body))[2]["error"]["message"])

    def test_a_message_names_the_member(self):
        for content, words in (("", "messages[0].content: the user's turn is empty"), (5, "messages[0].content: takes a string or a list"),
                               ([{"type": "image_url", "image_url": {"url": "aGVsbG8="}}], "messages[0].content[0].image_url.url: the image is neither")):
            with self.subTest(content):
                reply = self.ask("POST", CHAT, {"messages": [{"role": "user", "content": content}]})[2]
                self.assertIn(words, reply["error"]["message"])

    def test_the_body_of_another_path_is_told(self):
        for path, body, words in ((CHAT, {"input": "a"}, "/v1/responses takes input"), (CHAT, {"prompt": "a"}, "/v1/completions takes a prompt"),
                                  ("/v1/completions", {"messages": [{}]}, "/v1/chat/completions takes messages"),
                                  ("/v1/responses", {"messages": [{}]}, "/v1/chat/completions takes messages"),
                                  (CHAT, about("x", images=[IMAGE]), "images and text come in messages")):
            with self.subTest(path=path, words=words):
                status, _, reply = self.ask("POST", path, body)
                self.assertEqual(status, 400)
                self.assertIn(words, reply["error"]["message"])

    def test_parts_and_bounds_that_ask_for_nothing(self):
        plain = self.ask("POST", CHAT, {"messages": [{"role": "user", "content": "hi"}]})[2]["choices"]
        for body in ({"messages": [{"role": "user", "content": [None, {"type": "text", "text": "hi"}, {"type": "text", "text": None}]}]},
                     {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 10**10}):
            status, _, reply = self.ask("POST", CHAT, body)
            self.assertEqual((status, reply.get("choices")), (200, plain), reply)


class KeyMissingTest(Errors, asking.StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = KeyedStack(asking.BINARIES)

    def test_every_path_of_the_api_asks_for_it(self):
        for path, body in POSTS.items():
            for headers in ({}, {"authorization": "Bearer bob"}, {"authorization": "alice"}):
                self.fails(401, "invalid_api_key", "POST", path, body, headers)
        for path in ("/v1/models", "/v1/diptych/status"):
            self.fails(401, "invalid_api_key", "GET", path)


class TimeoutTest(Errors, asking.StackTest):
    FLAGS = ["--request_timeout=1ms"]

    def test_a_passed_limit(self):
        for path in (CHAT, "/v1/completions", "/v1/responses", ANALYZE):
            self.fails(504, "deadline_exceeded", "POST", path, POSTS[path])


class ServerFullTest(Errors, asking.StackTest):
    FLAGS = ["--max_inflight=1"]

    def test_every_path_that_takes_a_place(self):
        over = threading.Event()

        def keep_asking():
            while not over.is_set():
                self.ask("POST", CHAT, about("x", max_tokens=100, ignore_eos=True))
        others = [threading.Thread(target=keep_asking) for _ in range(3)]
        for thread in others:
            thread.start()
        try:
            for path in (CHAT, "/v1/completions", "/v1/responses", ANALYZE):
                for body in (POSTS[path], POSTS[path] | {"stream": True}) if path != ANALYZE else (POSTS[path],):
                    asked = (self.ask("POST", path, body) for _ in range(1000))
                    self.is_failure(429, "queue_full", *next(got for got in asked if got[0] != 200))
        finally:
            over.set()
            for thread in others:
                thread.join()


class LanguageDownTest(Errors, asking.StackTest):
    def test_every_path_that_needs_it(self):
        self.stack.processes[1].send_signal(signal.SIGKILL)
        self.stack.processes.pop(1).communicate()
        for path in POSTS:
            if path not in (PLAN, ANALYZE):  # which ask it for a part at most
                self.fails(503, "tier_unavailable", "POST", path, POSTS[path])
        self.fails(503, "tier_unavailable", "POST", PLAN, {"prompt": "a"})

    @classmethod
    def tearDownClass(cls):
        assert cls.stack.stop() == [0, 0]


if __name__ == "__main__":
    asking.main()
