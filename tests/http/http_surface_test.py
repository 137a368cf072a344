"""The HTTP surface: its paths, its description, how processes start and drain.

Usage: http_surface_test.py FOLDER_OF_BINARIES; run by ctest as `http_surface_test`.
"""
import base64
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
    asking.main()
