"""A server that is told to stop while connections keep coming: what it has is answered, newcomers are told, and it ends.

Usage: drain_test.py FOLDER_OF_BINARIES; run by ctest as `drain_test`.
"""
import contextlib
import http.client
import json
import pathlib
import signal
import socket
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))
from h2_caller import Caller
from http_stack import Stack

BODY = {"prompt": "a", "stream": True, "max_tokens": 100, "ignore_eos": True}
ENDED = 60  # seconds, whatever the machine does meanwhile
CALLERS = 4  # of each kind
VISION, LANGUAGE, GATEWAY = range(3)  # places in Stack.processes


class Newcomers:
    """Callers who connect again and again from now on, until the server's port is closed to them for good."""

    def __init__(self, *visits):
        self._stop, self.visits = threading.Event(), 0
        self._threads = [threading.Thread(target=self._come, args=(visit,)) for visit in visits for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def _come(self, visit):
        while not self._stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                visit()
                self.visits += 1

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def connect(port):
    """Says nothing."""
    socket.create_connection(("127.0.0.1", port), timeout=ENDED).close()


def begin(port):
    """Says half of what HTTP/2 begins with, and stays for a moment."""
    with socket.create_connection(("127.0.0.1", port), timeout=ENDED) as connection:
        connection.sendall(b"PRI * HTTP/2")
        connection.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            connection.recv(1)


def check(port):
    caller = Caller(port, window=65535)
    try:
        call = caller.call("grpc.health.v1.Health/Check")
        caller.listen(1, until=lambda: call in caller.ended)
    finally:
        caller.close()


def look(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ENDED)
    connection.request("GET", "/healthz/ready")
    connection.getresponse().read()
    connection.close()


class DrainTest(unittest.TestCase):
    def stream(self, stack):
        """A stream that has begun."""
        connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=ENDED)
        connection.request("POST", "/v1/completions", json.dumps(BODY), {"content-type": "application/json"})
        answer = connection.getresponse()
        self.assertTrue(answer.readline().startswith(b"data: "))
        return answer

    def drain(self, place, visits_of):
        stack = Stack(sys.argv[1])
        self.addCleanup(stack.stop)
        answer = self.stream(stack)
        visits = visits_of(stack)
        newcomers = Newcomers(*visits)
        self.addCleanup(newcomers.stop)
        while newcomers.visits < 10 * len(visits):
            pass
        process = stack.processes[place]
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=ENDED), 0)
        self.assertTrue(answer.read().endswith(b"data: [DONE]\n\n"))

    def test_the_gateway(self):
        self.drain(GATEWAY, lambda stack: [lambda visit=visit, port=port: visit(port) for visit, port in (
            (connect, stack.grpc_port), (begin, stack.grpc_port), (check, stack.grpc_port), (connect, stack.port), (look, stack.port))])

    def test_a_tier(self):
        self.drain(LANGUAGE, lambda stack: [lambda visit=visit: visit(stack.language_port) for visit in (connect, begin, check)])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
