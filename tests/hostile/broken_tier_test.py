"""A tier whose calls end as no gRPC server ends them: it must end none of the processes that ask it.

Usage: broken_tier_test.py FOLDER_OF_BINARIES; run by ctest as `broken_tier_test`.
"""
import pathlib
import socket
import subprocess
import sys
import threading
import unittest

import h2_caller  # noqa: F401 (finds h2, or skips)
import h2.config
import h2.connection
import h2.events
import h2.exceptions

BINARIES = pathlib.Path(sys.argv[1])
DEMO = pathlib.Path(__file__).resolve().parents[2] / "models" / "demo"
HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
WATCH = "/grpc.health.v1.Health/Watch"
SERVING = b"\0\0\0\0\2\x08\1"
# Headers that are more than `HEADERS`, and trailers, of a call's end; without trailers the data's end is the call's.
ENDS = {"headers alone": ([], None), "trailers without a status": ([], [("x", "y")]),
        "a status that is no number": ([], [("grpc-status", "none")]), "a status that is empty": ([], [("grpc-status", "")]),
        "a status that nobody knows": ([], [("grpc-status", "99")]), "a negative one": ([], [("grpc-status", "-1")]),
        "two": ([], [("grpc-status", "0"), ("grpc-status", "14")]), "a status before its time": ([("grpc-status", "0")], [("x", "y")]),
        "a message that is no text": ([], [("grpc-status", "14"), ("grpc-message", "%zz%00%ff")])}


class BrokenTier:
    """A server of HTTP/2 that says it is healthy and ends each other call so. Counts these."""

    def __init__(self, headers, trailers):
        self._headers, self._trailers, self.calls = headers, trailers, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()
            except OSError:
                return

    def _serve(self, connection):
        server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        server.initiate_connection()
        with connection:
            try:
                while True:
                    connection.sendall(server.data_to_send())
                    data = connection.recv(1 << 16)
                    if not data:
                        return
                    for event in server.receive_data(data):
                        if isinstance(event, h2.events.RequestReceived):
                            self._answer(server, event)
                        if isinstance(event, h2.events.ConnectionTerminated):
                            return
            except (OSError, h2.exceptions.ProtocolError):
                pass

    def _answer(self, server, request):
        if dict(request.headers)[":path"] == WATCH:
            server.send_headers(request.stream_id, HEADERS)
            return server.send_data(request.stream_id, SERVING)
        self.calls += 1
        server.send_headers(request.stream_id, HEADERS + self._headers)
        if self._trailers is None:
            return server.end_stream(request.stream_id)
        return server.send_headers(request.stream_id, self._trailers, end_stream=True)


class BrokenTierTest(unittest.TestCase):
    def outlives(self, name, *flags):
        """The process `name` with these flags outlives three calls to a tier of each kind."""
        for end, (headers, trailers) in ENDS.items():
            tier = BrokenTier(headers, trailers)
            target = f"ipv4:127.0.0.1:{tier.port}"
            process = subprocess.Popen([BINARIES / name, "--listen=127.0.0.1:0", "--metrics_listen=", *(flag.format(target) for flag in flags)],
                                       text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            log = threading.Thread(target=process.stderr.read)
            log.start()
            try:
                with self.subTest(name, end=end):
                    while tier.calls < 3 and process.poll() is None:
                        threading.Event().wait(0.02)
                    self.assertIsNone(process.poll())
                    process.terminate()
                    self.assertEqual(process.wait(60), 0)
            finally:
                process.kill()
                log.join()
                tier.close()

    def test_a_gateway(self):
        self.outlives("gateway", "--http_listen=", "--vision_target={0}", "--language_target={0}")

    def test_a_language_service(self):
        self.outlives("language_service", f"--model={DEMO}", "--threads=1", "--vision_target={0}")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
