"""Callers that leave while a tier stands still: what the gateway itself counts shows that their places are free.

Usage: abandoned_calls_test.py FOLDER_OF_BINARIES; run by ctest as `abandoned_calls_test`.
"""
import contextlib
import http.client
import json
import pathlib
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))
from h2_caller import Caller, field
from http_stack import StackCase

PROMPT = "What color is the circle?"
QUESTION = field(1, field(3, PROMPT))
INFERENCE = field(1, "demo") + field(5, field(1, "prompt") + field(2, "BYTES") + field(3, b"\1") + field(5, field(8, PROMPT)))
METHODS = {"diptych.v1.GatewayService/Ask": QUESTION, "diptych.v1.GatewayService/AskStream": QUESTION,
           "inference.GRPCInferenceService/ModelInfer": INFERENCE, "inference.GRPCInferenceService/ModelStreamInfer": INFERENCE}
NOTICED = 4  # seconds; the gateway gives up the tier itself after 6


def stands_still(pid):
    """Whether all its threads do: where the machine is busy, some run on for a while after the signal."""
    states = [status.read_text().rpartition(")")[2].split()[0] for status in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) == {"T"}


class AbandonedCallsTest(StackCase):
    def http(self, method, path, body=None, after=b""):
        """The connection, with the request on its way and `after` behind it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=60)
        connection.request(method, path, body and json.dumps(body), {"content-type": "application/json"})
        connection.sock.sendall(after)
        return connection

    def running(self):
        connection = self.http("GET", "/metrics")
        page = connection.getresponse().read().decode()
        connection.close()
        return float(next(line for line in page.splitlines() if line.startswith("diptych_requests_running ")).split()[1])

    def wait_for(self, running, seconds):
        end = time.monotonic() + seconds
        while (now := self.running()) != running and time.monotonic() < end:
            time.sleep(0.05)
        return now == running

    @contextlib.contextmanager
    def standing_still(self):
        """The language tier answers nothing meanwhile; afterwards it does."""
        tier = self.stack.processes[1]
        tier.send_signal(signal.SIGSTOP)
        while not stands_still(tier.pid):
            time.sleep(0.01)
        try:
            yield
        finally:
            tier.send_signal(signal.SIGCONT)
        connection = self.http("POST", "/v1/completions", {"prompt": PROMPT, "max_tokens": 2})
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()

    def leaves(self, call, leave, way):
        with self.standing_still():
            caller = call()
            self.assertTrue(self.wait_for(1, NOTICED), way)
            leave(caller)
            self.assertTrue(self.wait_for(0, NOTICED), way)
            caller.close()

    def test_over_grpc(self):
        def call(metadata=()):
            caller = Caller(self.stack.grpc_port, window=65535)
            caller.stream = caller.call(method, METHODS[method], metadata)
            return caller
        for method in METHODS:
            self.leaves(call, lambda caller: caller.cancel(caller.stream), (method, "cancels"))
        self.leaves(call, Caller.close, (method, "goes"))
        self.leaves(lambda: call([("grpc-timeout", "1S")]), lambda caller: None, (method, "has a deadline"))

    def test_over_http(self):
        for stream in (False, True):
            for after in (b"", b"\r\n"):  # old callers end a body with an empty line
                self.leaves(lambda: self.http("POST", "/v1/completions", {"prompt": PROMPT, "stream": stream}, after),
                            http.client.HTTPConnection.close, (stream, after))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
