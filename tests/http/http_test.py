"""The HTTP surface from outside: honest callers and hostile ones, byte by byte.

Usage: http_test.py FOLDER_OF_BINARIES; run by ctest as `http_test`.
"""
import base64
import http.client
import json
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import documented
from http_stack import SAMPLE, Stack, key_file

BINARIES = sys.argv[1]
IMAGE = "data:image/png;base64," + base64.b64encode(SAMPLE.read_bytes()).decode()


def about(text, **options):
    parts = [{"type": "image_url", "image_url": {"url": IMAGE}}, {"type": "text", "text": text}]
    return {"model": "demo", "messages": [{"role": "user", "content": parts}], **options}


class Asking:
    """Of a test class with a `stack`."""

    def ask(self, method, path, body=None, headers=None):
        """Status, headers and body; JSON is parsed. What comes must be as it is documented."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=60)
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        connection.request(method, path, body, {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        kind = answer.getheader("content-type")
        value = json.loads(text) if kind == "application/json" else text.decode()
        documented.check_reply(method, path, answer.status, kind, value)
        if answer.status == 200 and method == "POST":
            documented.check_request(method, path, json.loads(body))
        return answer.status, answer.headers, value

    def raw(self, request, wait=True):
        """What comes back until the server closes or `wait` is false and something came."""
        with socket.create_connection(("127.0.0.1", self.stack.port), timeout=60) as connection:
            connection.sendall(request)
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece
                if not wait:
                    break
            return answer


class HttpTest(Asking, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(BINARIES, ["--max_image_bytes=1048576"])

    @classmethod
    def tearDownClass(cls):
        assert cls.stack.stop() == [0, 0, 0]

    def refused(self, body, param=None, code=None, path="/v1/chat/completions"):
        status, _, answer = self.ask("POST", path, body)
        self.assertEqual(status, 400, answer)
        self.assertEqual(answer["error"]["type"], "invalid_request_error")
        if param:
            self.assertEqual(answer["error"]["param"], param)
        if code:
            self.assertEqual(answer["error"]["code"], code)
        self.assertNotIn("base64", answer["error"]["message"][200:])

    def test_answers_about_an_image(self):
        status, headers, answer = self.ask("POST", "/v1/chat/completions", about("What color is the circle?"),
                                           {"x-request-id": "mine-1"})
        self.assertEqual(status, 200)
        self.assertEqual(headers["x-request-id"], "mine-1")
        self.assertEqual(answer["id"], "chatcmpl-mine-1")
        self.assertEqual(answer["choices"][0]["message"]["content"], "red")
        self.assertEqual(answer["choices"][0]["finish_reason"], "stop")
        timings = dict(answer["diptych"]["timings"])
        total = timings.pop("total")
        stages = sum(v for k, v in timings.items()
                     if k not in ("time_to_first_token", "decode_tokens_per_second", "cache_hits"))
        self.assertAlmostEqual(stages, total, places=6)
        self.assertEqual(answer["diptych"]["context_budget"]["image_tokens"], 16)

    def test_an_image_alone_asks_for_its_caption(self):
        body = about("")
        body["messages"][0]["content"].pop()
        _, _, answer = self.ask("POST", "/v1/chat/completions", body)
        self.assertIn("red circle", answer["choices"][0]["message"]["content"])

    def test_the_stream_is_the_answer_in_pieces(self):
        whole = self.ask("POST", "/v1/chat/completions", about("Describe the image.", max_tokens=30))[2]
        _, headers, stream = self.ask("POST", "/v1/chat/completions",
                                      about("Describe the image.", max_tokens=30, stream=True,
                                            stream_options={"include_usage": True}))
        self.assertEqual(headers["content-type"], "text/event-stream")
        events = [line.removeprefix("data: ") for line in stream.split("\n\n") if line]
        self.assertEqual(events.pop(), "[DONE]")
        chunks = [json.loads(event) for event in events]
        usage = chunks.pop()
        self.assertEqual(usage["usage"], whole["usage"] | {"prompt_tokens_details": usage["usage"]["prompt_tokens_details"]})
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        self.assertEqual(text, whole["choices"][0]["message"]["content"])
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"])

    def test_relevance_comes_with_the_end(self):
        body = about("What color is the circle?", return_relevance=True)
        whole = self.ask("POST", "/v1/chat/completions", body)[2]
        self.assertEqual(len(whole["diptych"]["relevance"]), whole["usage"]["completion_tokens"])
        for token in whole["diptych"]["relevance"]:
            self.assertEqual((token["images"][0]["rows"], token["images"][0]["columns"]), (8, 8))
            self.assertTrue(0 < sum(token["images"][0]["values"]) <= 1.00001)
            self.assertTrue(0 < token["image_share"] < 1)
        stream = self.ask("POST", "/v1/chat/completions", body | {"stream": True})[2]
        chunks = [json.loads(line.removeprefix("data: ")) for line in stream.split("\n\n") if line and "[DONE]" not in line]
        self.assertEqual(chunks[-1]["diptych"]["relevance"], whole["diptych"]["relevance"])
        self.assertTrue(all("diptych" not in chunk for chunk in chunks[:-1]))
        plain = self.ask("POST", "/v1/chat/completions", about("What color is the circle?"))[2]
        self.assertNotIn("relevance", plain["diptych"])
        self.refused(body | {"num_beams": 2}, param="return_relevance", code="option_range")
        self.refused(body | {"image_options": {"token_merging": 0.1}}, param="return_relevance", code="option_range")
        self.refused({"messages": [{"role": "user", "content": "Hello"}], "return_relevance": True},
                     param="return_relevance", code="option_range")

    def test_choices_of_one_seed_can_be_repeated(self):
        body = about("", n=3, temperature=4, seed=7, max_tokens=12)
        answers = [self.ask("POST", "/v1/chat/completions", body)[2] for _ in range(2)]
        texts = [[choice["message"]["content"] for choice in answer["choices"]] for answer in answers]
        self.assertEqual(texts[0], texts[1])
        self.assertEqual(len(texts[0]), 3)
        self.assertGreater(len(set(texts[0])), 1)

    def test_what_the_model_cannot_do_is_refused(self):
        for key, value in {"tools": [{}], "response_format": {"type": "json_object"}, "logit_bias": {"5": 1},
                           "presence_penalty": 0.5, "modalities": ["audio"], "reasoning_effort": "low",
                           "no_such_thing": 1}.items():
            self.refused(about("x", **{key: value}), param=key, code="unsupported_parameter")
        self.refused({"messages": [{"role": "system", "content": "x"}]}, "messages[0].role", "unsupported_parameter")
        neutral = about("What color is the circle?", tools=[], tool_choice="none", presence_penalty=0, logit_bias=None,
                        response_format={"type": "text"}, user="u")
        self.assertEqual(self.ask("POST", "/v1/chat/completions", neutral)[0], 200)

    def test_values_out_of_range_name_their_parameter(self):
        for key, value in {"temperature": -1, "top_p": 2, "n": 9, "max_tokens": 0, "seed": "x", "stop": [1],
                           "num_beams": 9, "max_completion_tokens": 1.5}.items():
            self.refused(about("x", **{key: value}), param="max_tokens" if key == "max_tokens" else key)
        self.refused(about("x", max_tokens=10**30))
        self.refused(about("x", max_tokens=100000), code="context_length_exceeded")
        self.assertEqual(self.ask("POST", "/v1/chat/completions", about("x", model="other"))[0], 404)

    def test_bad_json_is_told_from_bad_content(self):
        for body in (b"", b"{", b"[]", b"nothing", b'{"messages": "\xff"}', b'{"n":1,"n":1}',
                     b'{"messages":' + b"[" * 100000 + b"]" * 100000 + b"}", b'{"a":' * 200 + b"1" + b"}" * 200):
            self.refused(body)
        self.refused({"messages": []}, "messages")
        self.refused({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "messages[0].content[0].type")

    def test_bad_images_have_their_reason(self):
        def with_url(url):
            return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
        self.refused(with_url("data:image/png;base64,!!!"), "messages[0].content[0].image_url.url")
        self.refused(with_url("data:image/png,abc"), "messages[0].content[0].image_url.url")
        self.refused(with_url("data:"), "messages[0].content[0].image_url.url")
        self.refused(with_url("data:image/png;base64," + base64.b64encode(b"GIF89a").decode()), code="image_format")
        self.refused(with_url("https://127.0.0.1/x.png"), code="image_url_refused")
        part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        self.refused({"messages": [{"role": "user", "content": [part] * 10000}]}, code="too_many_images")

    def test_analyses_an_image(self):
        encoded = base64.b64encode(SAMPLE.read_bytes()).decode()
        maps = dict(cls_attention=True, qformer_attention=True)
        for image in (encoded, "data:image/png;base64," + encoded):
            status, headers, reply = self.ask("POST", "/v1/diptych/analyze", dict(image=image, prepared_image=True, **maps))
            self.assertEqual((status, reply["pixel_shape"], reply["feature_shape"]), (200, [1, 3, 112, 112], [1, 65, 128]))
            self.assertEqual(headers["x-request-id"], reply["request_id"])
            self.assertEqual(base64.b64decode(reply["prepared_image"])[1:4], b"PNG")
            self.assertEqual(len(reply["query_attention"]), 16)
            for map in (reply["cls_attention"], reply["mean_query_attention"], *reply["query_attention"]):
                self.assertAlmostEqual(sum(map["patches"]["values"]) + map["class_token"], 1, places=5)
                self.assertEqual((map["patches"]["rows"], map["patches"]["columns"]), (8, 8))

    def test_what_cannot_be_analysed_is_refused(self):
        encoded = base64.b64encode(SAMPLE.read_bytes()).decode()
        for body, param, code in (
                ({}, "image", "invalid_value"), ({"image": "?"}, "image", "invalid_value"),
                ({"image": "aGVsbG8="}, "image", "image_format"),
                ({"image": "https://127.0.0.1/x.png"}, "image", "image_url_refused"),
                ({"image": encoded, "maps": True}, "maps", "unsupported_parameter"),
                ({"image": encoded, "cls_attention": 1}, "cls_attention", "invalid_value"),
                ({"image": encoded, "image_options": {"image_size": 29}}, "image_options.image_size", "option_range"),
                ({"image": encoded, "cls_attention": True, "image_options": {"token_merging": 0.1}},
                 "image_options.token_merging", "option_range")):
            with self.subTest(body={name: str(value)[:20] for name, value in body.items()}):
                self.refused(body, param=param, code=code, path="/v1/diptych/analyze")

    def test_paths_methods_and_types(self):
        self.assertEqual(self.ask("GET", "/v1/models")[2]["data"][0]["id"], "demo")
        self.assertEqual(self.ask("GET", "/v1/models/demo")[2]["id"], "demo")
        self.assertEqual(self.ask("GET", "/v1/models/other")[0], 404)
        self.assertEqual(self.ask("GET", "/healthz/live")[0], 200)
        self.assertEqual(self.ask("GET", "/healthz/ready")[0], 200)
        self.assertEqual(self.ask("GET", "/../etc/passwd")[0], 404)
        status, headers, page = self.ask("GET", "/")
        self.assertEqual((status, headers["content-type"]), (200, "text/html; charset=utf-8"))
        self.assertIn("default-src 'self'", headers["content-security-policy"])
        self.assertIn("playground/app.js", page)
        self.assertEqual(self.ask("GET", "/", headers={"if-none-match": headers["etag"]})[0], 304)
        status, _, tiers = self.ask("GET", "/v1/diptych/status")
        self.assertEqual((status, [tier["name"] for tier in tiers["tiers"]]), (200, ["language", "vision"]))
        status, headers, _ = self.ask("GET", "/v1/chat/completions")
        self.assertEqual((status, headers["allow"]), (405, "POST"))
        self.assertEqual(self.ask("POST", "/v1/completions", "{}", {"content-type": "text/plain"})[0], 415)
        status, _, plan = self.ask("POST", "/v1/diptych/plan", {"images": [{"height": 448, "width": 448}], "prompt": "x"})
        self.assertEqual((status, plan["query_tokens"]), (200, 16))
        self.assertEqual(self.ask("POST", "/v1/diptych/plan", {"images": 5})[0], 400)

    def test_the_description_is_valid_and_served(self):
        self.assertEqual(self.ask("GET", "/openapi.json")[2], documented.DOCUMENT)
        if documented.why_not is not None:
            self.skipTest(documented.why_not)
        documented.check_document()

    def test_every_kind_of_reply_is_as_documented(self):
        many = about("Describe the image.", n=2, logprobs=True, top_logprobs=2, max_tokens=8)
        text = {"prompt": "a red", "n": 2, "logprobs": 2, "echo": True, "max_tokens": 4}
        usage = {"stream": True, "stream_options": {"include_usage": True}}
        for path, body in (("/v1/chat/completions", many), ("/v1/chat/completions", {**many, **usage}),
                           ("/v1/completions", text), ("/v1/completions", {**text, **usage}),
                           ("/v1/diptych/analyze", {"image": IMAGE, "cls_attention": True, "qformer_attention": True,
                                                    "prepared_image": True}),
                           ("/v1/diptych/plan", {"images": [{"width": 100, "height": 80}], "windows": [512, 2048]})):
            self.assertEqual(self.ask("POST", path, body)[0], 200)
        self.assertEqual(self.ask("GET", "/v1/diptych/status")[0], 200)
        self.assertEqual(self.ask("GET", "/")[0], 200)
        self.assertEqual(self.ask("POST", "/v1/diptych/analyze", {"image": "AAAA"})[0], 400)

    def test_a_plan_is_what_a_run_then_spends(self):
        random_ = random.Random(20)
        words = "what color is the circle star large small red blue how many shapes are there left right".split()
        compared = ("window", "image_tokens", "text_tokens", "history_tokens", "reserved_output", "turns_dropped", "dense_patch_tokens")
        fitted = 0
        for case in range(100):
            images = random_.randrange(3)
            texts = [" ".join(random_.choices(words, k=random_.randint(1, 20))) for _ in range(random_.choice((1, 1, 3, 5, 9)))]
            plan = {"images": [{"width": 64, "height": 64}] * images,
                    "turns": [{"role": ("ROLE_USER", "ROLE_ASSISTANT")[i % 2], "text": text} for i, text in enumerate(texts)]}
            messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
            part = {"type": "image_url", "image_url": {"url": IMAGE}}
            messages[0]["content"] = [part] * images + [{"type": "text", "text": texts[0]}]
            chat = {"messages": messages}
            if random_.random() < 0.8:
                plan["max_new_tokens"] = chat["max_tokens"] = random_.choice((1, 2, 5, 40, 100))
            status, _, planned = self.ask("POST", "/v1/diptych/plan", plan)
            self.assertEqual(status, 200)
            budget = planned["windows"][0]["budget"]
            status, _, answer = self.ask("POST", "/v1/chat/completions", chat)
            with self.subTest(case=case, plan=plan):
                self.assertEqual(status, 200 if budget["remaining"] >= 0 else 400, answer)
                if status == 200:
                    fitted += 1
                    spent = answer["diptych"]["context_budget"]
                    self.assertEqual({key: budget[key] for key in compared}, {key: spent[key] for key in compared})
                    self.assertEqual(spent["generated"] + spent["remaining"],
                                     spent["window"] - sum(spent[key] for key in compared[1:4]))
                    self.assertEqual(answer["usage"]["prompt_tokens"], sum(spent[key] for key in compared[1:4]))
        self.assertGreater(fitted, 50)

    def test_oversized_and_malformed_requests(self):
        self.assertTrue(self.raw(b"GET / HTTP/1.1\r\nx: " + b"y" * 20000 + b"\r\n\r\n").startswith(b"HTTP/1.1 431 "))
        self.assertTrue(self.raw(b"NONSENSE\r\n\r\n").startswith(b"HTTP/1.1 400 "))
        large = b"POST /v1/completions HTTP/1.1\r\ncontent-type: application/json\r\n"
        self.assertTrue(self.raw(large + b"content-length: 99999999999\r\n\r\n").startswith(b"HTTP/1.1 413 "))
        self.assertTrue(self.raw(large + b"content-length: 7000000\r\n\r\n" + b" " * 7000000).startswith(b"HTTP/1.1 413 "))
        self.assertTrue(self.raw(large + b"content-length: -1\r\n\r\n").startswith(b"HTTP/1.1 400 "))
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        self.assertTrue(self.raw(large + b"transfer-encoding: chunked\r\n\r\n" + chunk * 8).startswith(b"HTTP/1.1 413 "))
        self.assertTrue(self.raw(large + b"transfer-encoding: chunked\r\n\r\nzz\r\n").startswith(b"HTTP/1.1 400 "))

    def test_connections_are_kept_and_shared(self):
        get = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"
        answer = self.raw(get * 3 + get.replace(b"host: x", b"connection: close"))
        self.assertEqual(answer.count(b"HTTP/1.1 200 OK"), 4)
        self.assertTrue(self.raw(b"GET /v1/models HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 "))
        body = json.dumps({"prompt": "x", "max_tokens": 1, "stream": True}).encode()
        post = b"POST /v1/completions HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.assertTrue(self.raw(post + body).endswith(b"data: [DONE]\n\n"))
        expect = post.replace(b"1.0", b"1.1").replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n")
        self.assertTrue(self.raw(expect, wait=False).startswith(b"HTTP/1.1 100 Continue"))

    def test_callers_that_leave_hurt_nobody(self):
        body = json.dumps(about("Describe the image.", stream=True, n=8)).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        for cut in (5, len(head) - 2, len(head) + 100, len(head) + len(body)):
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", self.stack.port)) as connection:
                    connection.sendall((head + body)[:cut])
        self.assertEqual(self.ask("POST", "/v1/chat/completions", about("What color is the circle?"))[0], 200)


class KeysTest(Asking, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.keys = pathlib.Path(cls.folder.name) / "keys.json"
        key_file(cls.keys, alice={}, spender={"tokens_per_minute": 1})
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
        self.assert_unauthorised(*self.with_key("POST", "/v1/chat/completions", "\u00e9", question))

    def test_health_and_metrics_stay_open(self):
        for path in ("/healthz/live", "/healthz/ready", "/metrics", "/"):
            status, _, text = self.ask("GET", path)
            self.assertEqual(status, 200)
            self.assertNotIn("alice", text)

    def test_no_body_is_read_of_who_has_no_key(self):
        head = (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json\r\n"
                b"content-length: 60000000\r\nexpect: 100-continue\r\n\r\n")
        self.assertTrue(self.raw(head).startswith(b"HTTP/1.1 401 "))

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


class HostileTest(Asking, unittest.TestCase):
    """Many bad callers at once: each gets its status, the honest one its answer, and memory stays where the flags put it."""

    BODIES = 32 << 20  # what all bodies together may take

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(BINARIES, ["--max_image_bytes=1048576", f"--max_inflight_bytes={cls.BODIES}"])

    @classmethod
    def tearDownClass(cls):
        assert cls.stack.stop() == [0, 0, 0]

    def peak(self):
        """The most memory that the gateway has held, in bytes."""
        status = pathlib.Path(f"/proc/{self.stack.processes[2].pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.stack.port), timeout=60)

    def statuses(self, connections):
        found = set()
        for connection in connections:
            try:
                found.add(connection.recv(12)[9:12])
            except ConnectionError:
                found.add(b"")
            connection.close()
        return found

    def post(self, headers, path=b"/v1/chat/completions"):
        return b"POST " + path + b" HTTP/1.1\r\ncontent-type: application/json\r\n" + headers + b"\r\n\r\n"

    def test_memory_is_bounded(self):
        self.assertEqual(self.ask("POST", "/v1/chat/completions", about("What color is the circle?"))[0], 200)
        before = self.peak()
        idle = [self.connect() for _ in range(300)]
        for connection in idle[:150]:
            connection.sendall(b"GET / HTTP/1.1\r\nx: ")  # and never goes on
        # Bodies that are announced and never come, then some that come: what does not fit beside the others is refused.
        announced = [self.connect() for _ in range(50)]
        for connection in announced:
            connection.sendall(self.post(b"content-length: 4000000"))
        refused = self.statuses(announced[8:])
        self.assertEqual(refused, {b"429"})
        self.assertEqual(self.ask("GET", "/v1/models")[0], 200, "what needs no body is answered meanwhile")
        for connection in announced[:8]:
            connection.close()
        bomb = b"1;" + b"e" * 1_000_000
        bombs = [self.connect() for _ in range(20)]
        for connection in bombs:
            try:
                connection.sendall(self.post(b"transfer-encoding: chunked") + bomb)
            except ConnectionError:
                pass  # it was told and closed before all was sent
        # 429: a body in chunks has the largest one's place set aside, and twenty do not fit at once.
        self.assertLessEqual(self.statuses(bombs), {b"400", b"431", b"413", b"429", b""})
        part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        many = json.dumps({"messages": [{"role": "user", "content": [part] * 10000}]})
        deep = b'{"messages":' + b"[" * 2_000_000
        text = json.dumps({"messages": [{"role": "user", "content": "x" * 4_000_000}]})
        for body in (many, deep, text) * 3:
            status, _, answer = self.ask("POST", "/v1/chat/completions", body)
            self.assertEqual(status, 413 if body is text else 400, answer)
        self.assertEqual(self.ask("POST", "/v1/chat/completions", about("What color is the circle?"))[0], 200)
        for connection in idle:
            connection.close()
        # Three copies of a body at most (as text, as JSON, as message), and some for the process itself.
        self.assertLess(self.peak() - before, 3 * self.BODIES + (64 << 20))

    def test_a_flood_of_requests_on_one_connection_is_answered_in_turn(self):
        get = b"GET /healthz/live HTTP/1.1\r\n\r\n"
        answer = self.raw(get * 2000 + get.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        self.assertEqual(answer.count(b"HTTP/1.1 200 OK"), 2001)

    def test_broken_text_is_told(self):
        for body in (b'{"prompt": "\xff"}', b'{"prompt": "\\ud800"}', b'{"prompt": "\xed\xa0\x80"}', b'{"prompt": "\xc0\xaf"}',
                     b'\xef\xbb\xbf{"prompt": 5}', b'{"prompt": "x", "prompt": "y"}'):
            status, _, answer = self.ask("POST", "/v1/completions", body)
            self.assertEqual(status, 400, (body, answer))


class StartTest(unittest.TestCase):
    def test_a_faulty_file_of_keys_ends_the_start_with_one_line(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write("{")
            file.flush()
            ended = subprocess.run([pathlib.Path(BINARIES) / "gateway", "--listen=127.0.0.1:0", "--http_listen=", "--metrics_listen=",
                                    "--log_level=error", f"--api_keys_file={file.name}"], capture_output=True, text=True, timeout=60)
        self.assertNotEqual(ended.returncode, 0)
        self.assertEqual(len(ended.stderr.splitlines()), 1, ended.stderr)
        self.assertIn("--api_keys_file: ", ended.stderr)
        self.assertNotIn(file.name, ended.stderr)


class DrainTest(unittest.TestCase):
    def test_a_question_in_flight_is_answered_and_the_process_ends_well(self):
        stack = Stack(BINARIES)
        connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=60)
        connection.request("POST", "/v1/chat/completions", json.dumps(about("", stream=True, n=8, max_tokens=40)),
                           {"content-type": "application/json"})
        answer = connection.getresponse()
        statuses = stack.stop()
        self.assertTrue(answer.read().endswith(b"data: [DONE]\n\n"))
        self.assertEqual(statuses, [0, 0, 0])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
