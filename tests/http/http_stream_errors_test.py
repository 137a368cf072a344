"""Streamed requests that fail before their first text get the status that the same request gets without `stream`.

Usage: http_stream_errors_test.py FOLDER_OF_BINARIES; run by ctest as `http_stream_errors_test`.
"""
import base64
import concurrent.futures
import itertools
import json
import signal
import zlib

import asking
from asking import about
from http_stack import SAMPLE, Stack

IMAGE = SAMPLE.read_bytes()
HELD = 200  # requests at once for one place in the vision tier


def about_bytes(data, text="What color is the circle?", **options):
    body = about(text, **options)
    body["messages"][0]["content"][0]["image_url"]["url"] = "data:image/png;base64," + base64.b64encode(data).decode()
    return body


def distinct(number):
    """The sample with a text chunk of its own: another image to the caches, the same to the eye."""
    return IMAGE[:-12] + png_text(str(number)) + IMAGE[-12:]


def png_text(text):
    data = b"tEXtComment\0" + text.encode()
    return (len(data) - 4).to_bytes(4, "big") + data + zlib.crc32(data).to_bytes(4, "big")


class StreamErrorsTest(asking.StackTest):
    def same_error(self, path, body):
        """The reply to `body`, streamed or not."""
        status, headers, whole = self.ask("POST", path, body)
        for choices in (1, 3):
            streamed = self.ask("POST", path, {**body, "stream": True, "n": choices})
            self.assertEqual((streamed[0], streamed[2]), (status, whole))
            self.assertEqual("retry-after" in streamed[1], "retry-after" in headers)
        return status, headers, whole

    def test_a_broken_image(self):
        for cut in (len(IMAGE) // 2, len(IMAGE) - 40):
            status, _, answer = self.same_error("/v1/chat/completions", about_bytes(IMAGE[:cut]))
            self.assertEqual((status, answer["error"]["code"]), (400, "image_corrupt"))

    def test_a_prompt_longer_than_the_window(self):
        long = "many words " * 2000
        for path, body in (("/v1/chat/completions", about(long)), ("/v1/completions", {"prompt": long})):
            status, _, answer = self.same_error(path, body)
            self.assertEqual((status, answer["error"]["code"]), (400, "context_length_exceeded"))

    def test_options_that_are_checked_late(self):
        for path, body in (("/v1/chat/completions", about("x", image_options={"image_size": 29})),
                           ("/v1/completions", {"prompt": "x", "num_beams": 99}),
                           ("/v1/completions", {"prompt": "x", "model": "other"})):
            self.assertIn(self.same_error(path, body)[0], (400, 404))

    def test_an_answer_without_text_is_a_stream(self):
        for path, body in (("/v1/chat/completions", about("What color is the circle?", stop=["r"])),
                           ("/v1/completions", {"prompt": "a red", "max_tokens": 4, "stop": [" ", "c", "s"]})):
            status, headers, text = self.ask("POST", path, {**body, "stream": True})
            self.assertEqual((status, headers["content-type"]), (200, "text/event-stream"))
            events = [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n")[:-2]]
            self.assertEqual(events[-1]["choices"][0]["finish_reason"], "stop")


class VisionDownTest(asking.StackTest):
    def test_its_status_says_when_to_come_back(self):
        self.stack.processes[0].send_signal(signal.SIGKILL)
        self.stack.processes.pop(0).communicate()
        for number, stream, choices in itertools.product((1, 2), (False, True), (1, 2)):
            body = about_bytes(distinct(number), stream=stream, n=choices)
            status, headers, answer = self.ask("POST", "/v1/chat/completions", body)
            self.assertEqual((status, answer["error"]["code"]), (503, "tier_unavailable"), answer)
            self.assertGreaterEqual(int(headers["retry-after"]), 1)
        self.assertEqual(self.ask("POST", "/v1/completions", {"prompt": "x", "stream": True})[0], 200)

    @classmethod
    def tearDownClass(cls):
        assert cls.stack.stop() == [0, 0]


class VisionFullTest(asking.StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(asking.BINARIES, vision_flags=["--queue_limit=1", "--image_workers=1"])

    def test_its_status_says_when_to_come_back(self):
        def ask(number):
            return self.ask("POST", "/v1/chat/completions", about_bytes(distinct(number), stream=True))

        refused, answered = [], 0
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for status, headers, answer in pool.map(ask, range(HELD)):
                answered += status == 200
                if status != 200:
                    refused.append((status, answer["error"]["code"], int(headers["retry-after"]) >= 1))
        self.assertEqual(set(refused), {(429, "queue_full", True)})
        self.assertGreater(answered, 0)


if __name__ == "__main__":
    asking.main()
