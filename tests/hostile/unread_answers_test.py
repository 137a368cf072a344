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
from http_stack import StackCase

PLACES = 4
TIMEOUT = 4  # seconds that a request may take
SLACK = 15   # for a caller to take the last message, and for a busy machine

QUESTION = field(3, "What color is the circle?")
LONG = field(3, "What color is the circle?") + field(4, field(1, 100) + field(2, 100))
# Open Inference's form of a question, and what reflection is asked.
INFERENCE = field(1, "demo") + field(5, field(1, "prompt") + field(2, "BYTES") + field(3, b"\1") + field(5, field(8, "What?")))
DESCRIBE = field(4, "diptych.v1.GatewayService")


def black_image():
    """A PNG that fits into HTTP/2's first window."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes(3 * 32)) * 32
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


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
        tiers = self.calls_to_tiers()
        caller = Caller(self.stack.grpc_port)
        image = field(1, black_image())
        calls = {method: caller.call(method, message)
                 for method, message in {"diptych.v1.GatewayService/Ask": field(1, QUESTION),
                                         "diptych.v1.GatewayService/AskStream": field(1, LONG),
                                         "diptych.v1.GatewayService/GetModel": b"",
                                         "diptych.v1.GatewayService/AnalyzeImage": field(1, image) + field(3, 1),
                                         "diptych.v1.GatewayService/PlanContext": field(3, "text"),
                                         "inference.GRPCInferenceService/ModelInfer": INFERENCE,
                                         "inference.GRPCInferenceService/ModelStreamInfer": INFERENCE,
                                         "inference.GRPCInferenceService/ServerMetadata": b"",
                                         "grpc.reflection.v1.ServerReflection/ServerReflectionInfo": DESCRIBE}.items()}
        caller.listen(10 + SLACK, until=lambda: caller.ended >= set(calls.values()))
        self.assertEqual([name for name, stream in calls.items() if stream not in caller.ended], [])
        caller.close()
        for method, caller, call in tiers:
            caller.listen(10 + SLACK, until=lambda: call in caller.ended)
            caller.close()
            self.assertIn(call, caller.ended, method)

    def calls_to_tiers(self):
        """(method, caller, call) of each."""
        language, vision = self.stack.language_port, self.stack.vision_port
        reflection = "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        calls = []
        for port, method, message in ((language, "diptych.v1.LanguageService/GetLanguageModel", b""),
                                      (language, "diptych.v1.LanguageService/CountTokens", field(2, "text")),
                                      (vision, reflection, field(4, "diptych.v1.VisionService")),
                                      (vision, "diptych.v1.VisionService/GetVisionModel", b"")):
            caller = Caller(port)
            calls.append((method, caller, caller.call(method, message)))
        return calls


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
