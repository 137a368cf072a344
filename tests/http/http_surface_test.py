"""The HTTP surface: its paths, its description, how processes start and drain.

Usage: http_surface_test.py FOLDER_OF_BINARIES; run by ctest as `http_surface_test`.
"""
import base64
import gzip
import http.client
import json
import pathlib
import subprocess
import tempfile
import unittest

import asking
import documented
from asking import BINARIES, IMAGE, about
from http_stack import SAMPLE, Stack


class SurfaceTest(asking.StackTest):
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
        self.assertEqual((status, headers["allow"]), (405, "POST, OPTIONS"))
        self.assertEqual(self.ask("POST", "/v1/completions", "{}", {"content-type": "text/plain"})[0], 415)
        status, _, plan = self.ask("POST", "/v1/diptych/plan", {"images": [{"height": 448, "width": 448}], "prompt": "x"})
        self.assertEqual((status, plan["query_tokens"]), (200, 16))
        for body in ({"images": 5}, {"max_new_tokens": 1, "maxNewTokens": 2}):
            self.assertEqual(self.ask("POST", "/v1/diptych/plan", body)[0], 400)

    def test_paths_are_found_as_clients_write_them(self):
        question = about("What color is the circle?")
        for path in ("/v1/chat/completions/", "/chat/completions", "/v1//chat/completions", "//chat/completions//"):
            status, _, answer = self.ask("POST", path, question, documented_as="/v1/chat/completions")
            self.assertEqual((status, answer["choices"][0]["message"]["content"]), (200, "red"), path)
        for path in ("/completions", "/v1/completions/"):
            self.assertEqual(self.ask("POST", path, {"prompt": "x"}, documented_as="/v1/completions")[0], 200)
        for path in ("/models", "/models/", "/v1/models/"):
            self.assertEqual(self.ask("GET", path, documented_as="/v1/models")[2]["data"][0]["id"], "demo")
        for path in ("/models/demo", "/v1/models/demo/", "/v1/models/d%65mo"):
            self.assertEqual(self.ask("GET", path, documented_as="/v1/models/demo")[2]["id"], "demo")
        for path in ("/health", "/health/", "/ping", "/healthz/ready/"):
            self.assertEqual(self.ask("GET", path, documented_as="/health")[:3:2], (200, "ready\n"))
        for path in ("/v1", "/v1/", "/chat", "/v1/v1/models", "/v2/models", "/playground", "/playground/", "/healthy"):
            self.assertEqual(self.ask("GET", path)[0], 404, path)
        status, _, version = self.ask("GET", "/version")
        self.assertRegex(version["version"], r"^\d+\.\d+\.\d+$")

    def test_a_header_is_that_of_the_reply_without_its_body(self):
        for path in ("/health", "/v1/models", "/v1/models/other", "/", "/openapi.json", "/nowhere"):
            whole = self.raw(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nx-request-id: it\r\nconnection: close\r\n\r\n".encode())
            head = self.raw(f"HEAD {path} HTTP/1.1\r\nhost: localhost\r\nx-request-id: it\r\nconnection: close\r\n\r\n".encode())
            self.assertEqual(head, whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", path)
        kept = self.raw(b"HEAD /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\nGET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        self.assertEqual((kept.count(b"HTTP/1.1 200 OK"), kept.endswith(b"\r\n\r\nready\n")), (2, True))
        self.assertTrue(self.raw(b"HEAD /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").startswith(b"HTTP/1.1 405 "))
        body = b"HEAD /v1/models HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"
        self.assertTrue(self.raw(body).endswith(b"\r\n\r\n"))

    def test_options_tell_the_methods(self):
        for path, methods in (("/v1/chat/completions", b"POST, OPTIONS"), ("/v1/models", b"GET, HEAD, OPTIONS"), ("/", b"GET, HEAD, OPTIONS")):
            reply = self.raw(f"OPTIONS {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
            self.assertTrue(reply.startswith(b"HTTP/1.1 204 "))
            self.assertIn(b"allow: " + methods + b"\r\n", reply)
            self.assertNotIn(b"content-length", reply)
        self.assertTrue(self.raw(b"OPTIONS /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").startswith(b"HTTP/1.1 404 "))

    def test_encoded_bodies_are_refused_unread(self):
        question = json.dumps({"prompt": "x"}).encode()
        for encoding, body in (("gzip", gzip.compress(question)), ("br", b"x"), ("deflate, gzip", b"x"), ("GZIP", gzip.compress(bytes(1 << 20)))):
            status, headers, answer = self.ask("POST", "/v1/completions", body, {"content-encoding": encoding})
            self.assertEqual((status, headers["accept-encoding"]), (415, "identity"), answer)
        self.assertEqual(self.ask("POST", "/v1/completions", question, {"content-encoding": "identity"})[0], 200)

    def test_an_unknown_model_is_told_the_known_one(self):
        for method, path, body in (("POST", "/v1/chat/completions", about("x", model="gpt-4o")),
                                   ("POST", "/v1/completions", {"prompt": "x", "model": "gpt-4o"}), ("GET", "/v1/models/gpt-4o", None)):
            status, _, answer = self.ask(method, path, body)
            self.assertEqual((status, answer["error"]["code"]), (404, "model_not_found"))
            self.assertIn("demo", answer["error"]["message"])
            self.assertNotIn("GetModel", answer["error"]["message"])

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


class ServedModelNameTest(asking.StackTest):
    FLAGS = ["--served_model_name=gpt-4o,org/vision-model"]

    def test_aliases_are_answered_and_listed(self):
        for name in ("gpt-4o", "org/vision-model", "demo"):
            status, _, answer = self.ask("POST", "/v1/chat/completions", about("What color is the circle?", model=name))
            self.assertEqual((status, answer["model"]), (200, "demo"))
            self.assertEqual(self.ask("POST", "/v1/completions", {"prompt": "x", "model": name, "stream": True})[0], 200)
        self.assertEqual([model["id"] for model in self.ask("GET", "/v1/models")[2]["data"]], ["demo", "gpt-4o", "org/vision-model"])
        for path in ("/v1/models/org/vision-model", "/v1/models/org%2Fvision-model"):
            self.assertEqual(self.ask("GET", path)[2]["id"], "org/vision-model")
        self.assertEqual(self.ask("POST", "/v1/completions", {"prompt": "x", "model": "gpt-5"})[0], 404)


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
        stream = answer.read()
        self.assertTrue(stream.endswith(b"data: [DONE]\n\n"), stream[-2000:])
        self.assertEqual(statuses, [0, 0, 0])


if __name__ == "__main__":
    asking.main()
