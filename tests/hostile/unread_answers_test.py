"""Callers that let the servers send nothing, against the three real processes.

Usage: unread_answers_test.py FOLDER_OF_BINARIES; run by ctest as `unread_answers_test`.
"""
import http.client
import json
import pathlib
import struct
import sys
import time
import unittest
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))
from h2_caller import Caller, field
import surface
from http_stack import StackCase

PLACES = 4
TIMEOUT = 4  # seconds that a request may take
SLACK = 15   # for a caller to take the last message, and for a busy machine

QUESTION = field(3, "What color is the circle?")
LONG = field(3, "What color is the circle?") + field(4, field(1, 100) + field(2, 100))
# Open Inference's form of a question, and what reflection is asked.
INFERENCE = field(1, "demo") + field(5, field(1, "prompt") + field(2, "BYTES") + field(3, b"\1") + field(5, field(8, "What?")))
# Calls that end when their caller says so; those to the tiers after ten minutes at the latest.
AS_LONG_AS = ("Watch", "/Generate", "/AnalyzeQueries", "/EncodeImage", "/AnalyzeVision")
DESCRIBE = field(4, "grpc.health.v1.Health")


def black_image():
    """A PNG that fits into HTTP/2's first window."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes(3 * 32)) * 32
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def message_to(method):
    """One that is answered, so that there is something to take."""
    image = black_image()
    return {"Ask": field(1, QUESTION), "AskStream": field(1, LONG), "Generate": field(1, LONG), "PlanContext": field(3, "text"),
            "AnalyzeImage": field(1, field(1, image)) + field(3, 1), "AnalyzeQueries": field(1, field(1, image)),
            "AnalyzeVision": field(1, image), "EncodeImage": field(1, image), "Tokenize": field(1, "text"), "EncodePrompt": field(1, "text"),
            "CountTokens": field(2, "text"), "Detokenize": field(1, 4), "DecodeTokens": field(1, 4), "ModelInfer": INFERENCE,
            "ModelStreamInfer": INFERENCE, "ModelMetadata": field(1, "demo"), "ModelReady": field(1, "demo"),
            "ServerReflectionInfo": DESCRIBE}.get(method.rpartition("/")[2], b"")


class UnreadAnswersTest(StackCase):
    FLAGS = [f"--max_inflight={PLACES}", f"--request_timeout={TIMEOUT}s"]

    def http(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=60)
        connection.request(method, path, body and json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def running(self):
        page = self.http("GET", "/metrics")[1]
        return float(next(line for line in page.splitlines() if line.startswith("diptych_requests_running ")).split()[1])

    def wait_until(self, condition, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not condition():
            time.sleep(0.05)
        return condition()

    def answered(self):
        """Whether an honest caller is answered."""
        return self.http("POST", "/v1/completions", {"prompt": "What color is the circle?", "max_tokens": 2})[0] == 200

    def test_slots_are_given_back_when_the_work_has_ended(self):
        for method in ("Ask", "AskStream"):
            caller = Caller(self.stack.grpc_port)
            for _ in range(PLACES):
                caller.call(f"diptych.v1.GatewayService/{method}", field(1, QUESTION))
                caller.listen(0.2)
            self.assertTrue(self.wait_until(lambda: self.running() == 0, TIMEOUT + SLACK), method)
            self.assertTrue(self.wait_until(self.answered, SLACK), method)
            caller.close()

    def test_every_call_ends(self):
        asked = []
        for port, methods in ((self.stack.grpc_port, surface.GATEWAY), (self.stack.language_port, surface.LANGUAGE),
                              (self.stack.vision_port, surface.VISION)):
            caller = Caller(port)
            asked.append((caller, {method: caller.call(method, message_to(method)) for method in methods if not method.endswith(AS_LONG_AS)}))
        for caller, calls in asked:
            caller.listen(10 + SLACK, until=lambda: caller.ended.issuperset(calls.values()))
            caller.close()
            self.assertEqual([method for method, call in calls.items() if call not in caller.ended], [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
