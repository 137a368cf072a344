"""Hostile callers of the HTTP surface, byte by byte, beside honest ones.

Usage: http_hostile_test.py FOLDER_OF_BINARIES; run by ctest as `http_hostile_test`.
"""
import json
import pathlib
import re
import socket

import asking
from asking import about


class BytesTest(asking.StackTest):
    FLAGS = ["--max_image_bytes=1048576"]

    def test_oversized_and_malformed_requests(self):
        self.assertTrue(self.raw(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 20000 + b"\r\n\r\n").startswith(b"HTTP/1.1 431 "))
        self.assertTrue(self.raw(b"NONSENSE\r\n\r\n").startswith(b"HTTP/1.1 400 "))
        large = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        self.assertTrue(self.raw(large + b"content-length: 99999999999\r\n\r\n").startswith(b"HTTP/1.1 413 "))
        self.assertTrue(self.raw(large + b"content-length: 7000000\r\n\r\n" + b" " * 7000000).startswith(b"HTTP/1.1 413 "))
        self.assertTrue(self.raw(large + b"content-length: -1\r\n\r\n").startswith(b"HTTP/1.1 400 "))
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        self.assertTrue(self.raw(large + b"transfer-encoding: chunked\r\n\r\n" + chunk * 8).startswith(b"HTTP/1.1 413 "))
        self.assertTrue(self.raw(large + b"transfer-encoding: chunked\r\n\r\nzz\r\n").startswith(b"HTTP/1.1 400 "))

    def test_the_limit_that_is_told_is_that_of_the_path(self):
        plan = b"POST /v1/diptych/plan HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: "
        told = [re.search(rb"(\d+) bytes at most", self.raw(plan + length + b"\r\n\r\n"))[1] for length in (b"5000000", b"99999999999")]
        self.assertEqual(told[0], told[1])

    def test_connections_are_kept_and_shared(self):
        get = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"
        answer = self.raw(get * 3 + get.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        self.assertEqual(answer.count(b"HTTP/1.1 200 OK"), 4)
        self.assertTrue(self.raw(b"GET /v1/models HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 "))
        body = json.dumps({"prompt": "x", "max_tokens": 1, "stream": True}).encode()
        post = b"POST /v1/completions HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.assertTrue(self.raw(post + body).endswith(b"data: [DONE]\n\n"))
        expect = post.replace(b"1.0", b"1.1").replace(b"\r\n\r\n", b"\r\nhost: localhost\r\nexpect: 100-continue\r\n\r\n")
        self.assertTrue(self.raw(expect, wait=False).startswith(b"HTTP/1.1 100 Continue"))

    def test_callers_that_leave_hurt_nobody(self):
        body = json.dumps(about("Describe the image.", stream=True, n=8)).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        for cut in (5, len(head) - 2, len(head) + 100, len(head) + len(body)):
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", self.stack.port)) as connection:
                    connection.sendall((head + body)[:cut])
        self.assertEqual(self.ask("POST", "/v1/chat/completions", about("What color is the circle?"))[0], 200)


class HostileTest(asking.StackTest):
    """Many bad callers at once: each gets its status, the honest one its answer, and memory stays where the flags put it."""

    BODIES = 32 << 20  # what all bodies together may take

    FLAGS = ["--max_image_bytes=1048576", f"--max_inflight_bytes={BODIES}"]

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
        return b"POST " + path + b" HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n" + headers + b"\r\n\r\n"

    def test_memory_is_bounded(self):
        self.assertEqual(self.ask("POST", "/v1/chat/completions", about("What color is the circle?"))[0], 200)
        before = self.peak()
        idle = [self.connect() for _ in range(300)]
        for connection in idle[:150]:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ")  # and never goes on
        # Bodies that are announced and never come take nothing from others, and are not waited for.
        announced = [self.connect() for _ in range(50)]
        for connection in announced:
            connection.sendall(self.post(b"content-length: 4000000"))
        self.assertEqual(self.ask("POST", "/v1/chat/completions", about("What color is the circle?"))[0], 200)
        self.assertEqual(self.statuses(announced), {b"408"})
        # Of bodies that come but for their last bytes, those that do not fit with the others are refused.
        coming = [self.connect() for _ in range(12)]
        for connection in coming:
            try:
                connection.sendall(self.post(b"content-length: 4000000") + b" " * 3_900_000)
            except ConnectionError:
                pass  # it was told and closed before all was sent
        self.assertEqual(self.ask("GET", "/v1/models")[0], 200, "what needs no body is answered meanwhile")
        refused = self.statuses(coming)
        self.assertIn(b"429", refused)
        self.assertLessEqual(refused, {b"429", b"408", b""})
        bomb = b"1;" + b"e" * 1_000_000
        bombs = [self.connect() for _ in range(20)]
        for connection in bombs:
            try:
                connection.sendall(self.post(b"transfer-encoding: chunked") + bomb)
            except ConnectionError:
                pass  # it was told and closed before all was sent
        self.assertLessEqual(self.statuses(bombs), {b"400", b"431", b"413", b""})
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

    def test_scores_of_many_answers_stay_in_bounds(self):
        before = self.peak()
        body = {"prompt": ["the red circle " * 50] * 64, "max_tokens": 1, "echo": True, "logprobs": 20}
        status, _, answer = self.ask("POST", "/v1/completions", body)
        self.assertEqual((status, answer["error"]["param"]), (400, "logprobs"), answer)
        status, _, answer = self.ask("POST", "/v1/completions", {**body, "stream": True})
        self.assertEqual(status, 200)
        self.assertTrue(answer.endswith("data: [DONE]\n\n"))
        status, _, answer = self.ask("POST", "/v1/completions", {**body, "prompt": body["prompt"][:8]})
        self.assertEqual((status, len(answer["choices"])), (200, 8))
        self.assertLess(self.peak() - before, 2 * self.BODIES + (64 << 20))

    def test_a_flood_of_requests_on_one_connection_is_answered_in_turn(self):
        get = b"GET /healthz/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
        answer = self.raw(get * 2000 + get.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        self.assertEqual(answer.count(b"HTTP/1.1 200 OK"), 2001)

    def test_a_number_without_end_is_not_read(self):
        for number in ("1" * 100_000, "-0." + "1" * 100_000, "1e" + "0" * 100_000):
            status, _, answer = self.ask("POST", "/v1/completions", '{"prompt": "\\"", "seed": %s}' % number)
            self.assertEqual(status, 400, answer)
            self.assertIn("too long a number", answer["error"]["message"])
        status, _, answer = self.ask("POST", "/v1/completions", {"prompt": "1" * 2000 + '"\\' + "2" * 2000, "max_tokens": 1})
        self.assertNotIn("number", answer["error"]["message"])  # digits in a text are none

    def test_broken_text_is_told(self):
        for body in (b'{"prompt": "\xff"}', b'{"prompt": "\\ud800"}', b'{"prompt": "\xed\xa0\x80"}', b'{"prompt": "\xc0\xaf"}',
                     b'\xef\xbb\xbf{"prompt": 5}', b'{"prompt": "x", "prompt": "y"}'):
            status, _, answer = self.ask("POST", "/v1/completions", body)
            self.assertEqual(status, 400, (body, answer))

    def test_no_body_names_a_key_twice(self):
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/diptych/plan", "/v1/diptych/analyze", "/v1/tokenize",
                     "/v1/detokenize"):
            for body in (b'{"user": "a", "user": "b"}', b'{"user": [{"a": null, "a": null}]}'):
                status, _, answer = self.ask("POST", path, body)
                self.assertEqual(status, 400, path)
                self.assertIn("names one key twice", answer["error"]["message"], path)


if __name__ == "__main__":
    asking.main()
