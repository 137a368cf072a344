"""The HTTP surface from outside: honest callers and hostile ones, byte by byte.

Usage: http_test.py FOLDER_OF_BINARIES; run by ctest as `http_test`.
"""
import base64
import http.client
import json
import socket
import sys
import unittest

from http_stack import SAMPLE, Stack

BINARIES = sys.argv[1]
PICTURE = "data:image/png;base64," + base64.b64encode(SAMPLE.read_bytes()).decode()


def about(text, **options):
    parts = [{"type": "image_url", "image_url": {"url": PICTURE}}, {"type": "text", "text": text}]
    return {"model": "demo", "messages": [{"role": "user", "content": parts}], **options}


class HttpTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(BINARIES, ["--max_image_bytes=1048576"])

    @classmethod
    def tearDownClass(cls):
        assert cls.stack.stop() == [0, 0, 0]

    def ask(self, method, path, body=None, headers=None):
        """Status, headers and body; JSON is parsed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=60)
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        connection.request(method, path, body, {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        is_json = answer.getheader("content-type") == "application/json"
        return answer.status, answer.headers, json.loads(text) if is_json else text.decode()

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

    def refused(self, body, param=None, code=None, path="/v1/chat/completions"):
        status, _, answer = self.ask("POST", path, body)
        self.assertEqual(status, 400, answer)
        self.assertEqual(answer["error"]["type"], "invalid_request_error")
        if param:
            self.assertEqual(answer["error"]["param"], param)
        if code:
            self.assertEqual(answer["error"]["code"], code)
        self.assertNotIn("base64", answer["error"]["message"][200:])

    def test_answers_about_a_picture(self):
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

    def test_a_picture_alone_asks_for_its_caption(self):
        body = about("")
        body["messages"][0]["content"].pop()
        _, _, answer = self.ask("POST", "/v1/chat/completions", body)
        self.assertIn("red circle", answer["choices"][0]["message"]["content"])

    def test_the_stream_is_the_answer_in_pieces(self):
        whole = self.ask("POST", "/v1/chat/completions", about("Describe the picture.", max_tokens=30))[2]
        _, headers, stream = self.ask("POST", "/v1/chat/completions",
                                      about("Describe the picture.", max_tokens=30, stream=True,
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

    def test_bad_pictures_have_their_reason(self):
        def with_url(url):
            return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
        self.refused(with_url("data:image/png;base64,!!!"), "messages[0].content[0].image_url.url")
        self.refused(with_url("data:image/png,abc"), "messages[0].content[0].image_url.url")
        self.refused(with_url("data:"), "messages[0].content[0].image_url.url")
        self.refused(with_url("data:image/png;base64," + base64.b64encode(b"GIF89a").decode()), code="image_format")
        self.refused(with_url("https://127.0.0.1/x.png"), code="image_url_refused")
        part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        self.refused({"messages": [{"role": "user", "content": [part] * 10000}]}, code="too_many_images")

    def test_analyses_a_picture(self):
        picture = base64.b64encode(SAMPLE.read_bytes()).decode()
        maps = dict(cls_attention=True, qformer_attention=True)
        for image in (picture, "data:image/png;base64," + picture):
            status, headers, reply = self.ask("POST", "/v1/diptych/analyze", dict(image=image, prepared_image=True, **maps))
            self.assertEqual((status, reply["pixel_shape"], reply["feature_shape"]), (200, [1, 3, 112, 112], [1, 65, 128]))
            self.assertEqual(headers["x-request-id"], reply["request_id"])
            self.assertEqual(base64.b64decode(reply["prepared_image"])[1:4], b"PNG")
            self.assertEqual(len(reply["query_attention"]), 16)
            for map in (reply["cls_attention"], reply["mean_query_attention"], *reply["query_attention"]):
                self.assertAlmostEqual(sum(map["patches"]["values"]) + map["class_token"], 1, places=5)
                self.assertEqual((map["patches"]["rows"], map["patches"]["columns"]), (8, 8))

    def test_what_cannot_be_analysed_is_refused(self):
        picture = base64.b64encode(SAMPLE.read_bytes()).decode()
        for body, param, code in (
                ({}, "image", "invalid_value"), ({"image": "?"}, "image", "invalid_value"),
                ({"image": "aGVsbG8="}, "image", "image_format"),
                ({"image": "https://127.0.0.1/x.png"}, "image", "image_url_refused"),
                ({"image": picture, "maps": True}, "maps", "unsupported_parameter"),
                ({"image": picture, "cls_attention": 1}, "cls_attention", "invalid_value"),
                ({"image": picture, "image_options": {"image_size": 29}}, "image_options.image_size", "option_range"),
                ({"image": picture, "cls_attention": True, "image_options": {"token_merging": 0.1}},
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
        body = json.dumps(about("Describe the picture.", stream=True, n=8)).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        for cut in (5, len(head) - 2, len(head) + 100, len(head) + len(body)):
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", self.stack.port)) as connection:
                    connection.sendall((head + body)[:cut])
        self.assertEqual(self.ask("POST", "/v1/chat/completions", about("What color is the circle?"))[0], 200)


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
    unittest.main(argv=sys.argv[:1])
