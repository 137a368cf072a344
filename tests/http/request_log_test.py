"""The line that each process logs for a request that ended there, as JSON.

Usage: request_log_test.py FOLDER_OF_BINARIES; run by ctest as `request_log_test`.
"""
import contextlib
import json
import pathlib
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "faults"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "hostile"))
from fault_stack import JSON, SAMPLE, Stack, body_of  # noqa: E402
from h2_caller import Caller  # noqa: E402
from http_stack import key_file  # noqa: E402

BINARIES = pathlib.Path(sys.argv.pop(1)).resolve()
SECRET, QUESTION = "sk-very-secret", "What color is the circle?"
ALWAYS = {"time", "level", "process", "event", "method", "request_id", "code", "reason", "key", "duration_ms", "prompt_tokens",
          "generated_tokens", "time_to_first_token_ms", "replica", "resumed", "trace_id"}


class RequestLogTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        keys = pathlib.Path(folder.name) / "keys.json"
        key_file(keys, **{SECRET: {}})
        cls.stack = Stack(BINARIES, gateway_flags=["--log_format=json", f"--api_keys_file={keys}"], tier_flags=["--log_format=json"])
        cls.addClassCleanup(cls.stack.stop)
        cls.headers = {"authorization": f"Bearer {SECRET}"}

    def lines(self, process):
        """Every line is one object."""
        return [json.loads(line) for line in process.log().splitlines()]

    def ended(self, process, **members):
        return [line for line in self.lines(process) if line.get("event") == "request_ended" and members.items() <= line.items()]

    def test_an_answer_has_a_line_in_each_process(self):
        self.assertEqual(self.stack.ask(headers={**self.headers, "x-request-id": "answered-1"})[0], 200)
        gateway, = self.ended(self.stack.gateway, request_id="answered-1")
        self.assertEqual(set(gateway), ALWAYS)
        self.assertEqual((gateway["method"], gateway["reason"], gateway["key"], gateway["level"]), ("ask", "OK", "caller-0", "info"))
        self.assertGreater(gateway["prompt_tokens"], 16, "with those of the image")
        self.assertGreater(gateway["generated_tokens"], 0)
        self.assertGreater(gateway["time_to_first_token_ms"], 0)
        self.assertLessEqual(gateway["time_to_first_token_ms"], gateway["duration_ms"])
        self.assertIn(f":{self.stack.languages[0].port}", gateway["replica"])
        language, = self.ended(self.stack.languages[0], request_id="answered-1")
        self.assertEqual(set(language), ALWAYS)
        self.assertEqual(language["method"], "generate")
        self.assertEqual(language["generated_tokens"], gateway["generated_tokens"])
        self.assertEqual(language["prompt_tokens"], gateway["prompt_tokens"])
        self.assertEqual(language["key"], "caller-0")
        self.assertIn(f":{self.stack.visions[0].port}", language["replica"])
        vision, = self.ended(self.stack.visions[0], request_id="answered-1")
        self.assertEqual((vision["method"], vision["code"], vision["key"]), ("encode", "OK", "caller-0"))

    def test_a_refusal_has_its_reason(self):
        self.assertEqual(self.stack.ask(image=b"no image", headers={**self.headers, "x-request-id": "refused-1"})[0], 400)
        reasons = [line["reason"] for line in self.ended(self.stack.gateway, method="ask")]
        self.assertIn("IMAGE_FORMAT", reasons)

    def test_requests_that_are_refused_unread_are_counted_and_logged(self):
        before = self.stack.gateway.metric("diptych_http_refused_total")
        self.assertEqual(self.stack.ask()[0], 401)
        connection = self.stack.connect()
        connection.request("POST", "/v1/chat/completions", headers={**JSON, **self.headers, "content-length": str(1 << 40)})
        self.assertEqual(connection.getresponse().status, 413)
        connection.close()
        self.assertEqual(self.stack.gateway.metric("diptych_http_refused_total"), before + 2)
        codes = [line["code"] for line in self.ended(self.stack.gateway, method="http")]
        self.assertLessEqual({"HTTP_401", "HTTP_413"}, set(codes))

    def ask_http(self, path, body, request_id, method="POST", headers=None):
        """The status, and under which id the reply says that the request is known."""
        with contextlib.closing(self.stack.connect()) as connection:
            given = {"x-request-id": request_id} if request_id else {}
            connection.request(method, path, body, JSON | (self.headers if headers is None else headers) | given)
            reply = connection.getresponse()
            reply.read()
            return reply.status, reply.getheader("x-request-id")

    def line_of(self, process, **members):
        """The only one; it is written a moment after the reply."""
        end = time.monotonic() + 10
        while not (lines := self.ended(process, **members)) and time.monotonic() < end:
            time.sleep(0.02)
        self.assertEqual(len(lines), 1, members)
        return lines[0]

    def test_a_request_that_becomes_no_call_is_found_by_its_id(self):
        for request_id, status, reason, key, asked in (
                ("no-json", 400, "INVALID_JSON", "caller-0", ("/v1/chat/completions", b'{"', "no-json")),
                ("no-text", 400, "INVALID_VALUE", "caller-0", ("/v1/tokenize", b'{"prompt": 1}', "no-text")),
                ("no-path", 404, "UNKNOWN_PATH", "", ("/v1/nothing", b"{}", "no-path")),
                ("no-key", 401, "INVALID_API_KEY", "", ("/v1/models", None, "no-key", "GET", {}))):
            self.assertEqual(self.ask_http(*asked), (status, request_id))
            line = self.line_of(self.stack.gateway, request_id=request_id)
            self.assertEqual((line["method"], line["code"], line["reason"], line["key"]), ("http", f"HTTP_{status}", reason, key))

    def test_a_caller_that_leaves_while_it_sends_has_a_line(self):
        connection = self.stack.connect()
        connection.request("POST", "/v1/chat/completions", b"{", {**JSON, **self.headers, "content-length": "99", "x-request-id": "left"})
        connection.close()
        line = self.line_of(self.stack.gateway, request_id="left")
        self.assertEqual((line["code"], line["reason"], line["key"]), ("HTTP_499", "CANCELLED", "caller-0"))

    def test_an_error_names_the_id_that_the_server_chose(self):
        status, request_id = self.ask_http("/v1/chat/completions", json.dumps(body_of("?", b"no image")), "")
        self.assertEqual(status, 400)
        self.assertEqual(self.line_of(self.stack.gateway, request_id=request_id)["reason"], "IMAGE_FORMAT")

    def test_questions_about_texts_have_a_line_in_each_process(self):
        self.assertEqual(self.ask_http("/v1/tokenize", b'{"prompt": "a"}', "counted")[0], 200)
        gateway = self.line_of(self.stack.gateway, request_id="counted")
        self.assertEqual((gateway["method"], gateway["reason"], gateway["key"]), ("tokenize", "OK", "caller-0"))
        self.assertEqual(self.line_of(self.stack.languages[0], request_id="counted")["method"], "encode_prompt")

    def test_what_a_tier_refuses_has_the_id_there(self):
        long = json.dumps({"model": "demo", "messages": [{"role": "user", "content": "long " * 2000}]})
        self.assertEqual(self.ask_http("/v1/chat/completions", long, "long")[0], 400)
        self.assertEqual(self.line_of(self.stack.languages[0], request_id="long")["reason"], "CONTEXT_LENGTH_EXCEEDED")

    def test_a_call_of_no_method_has_a_line(self):
        caller = Caller(self.stack.gateway.port, window=65535)
        self.addCleanup(caller.close)
        call = caller.call("diptych.v1.GatewayService/Nothing", metadata=[("x-request-id", "nothing")])
        caller.listen(10, until=lambda: call in caller.ended)
        self.assertEqual(self.line_of(self.stack.gateway, request_id="nothing")["reason"], "UNIMPLEMENTED")

    def test_nothing_that_callers_say_is_logged(self):
        words = "an unusual wording"
        self.stack.ask(text=words, headers=self.headers)
        connection = self.stack.connect()
        connection.request("POST", f"/v1/{words.replace(' ', '-')}", json.dumps(body_of(words, SAMPLE)), JSON | self.headers)
        connection.getresponse().read()
        connection.close()
        for process in self.stack.processes:
            for secret in (SECRET, words, words.replace(" ", "-")):
                self.assertNotIn(secret, process.log())


if __name__ == "__main__":
    unittest.main()
