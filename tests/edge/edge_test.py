"""gRPC and HTTP through the proxies of deploy/edge, each as a real process before the three real ones.

Usage: edge_test.py FOLDER_OF_BINARIES; run by ctest as `edge_test`. A proxy that is not installed is skipped.
"""
import http.client
import json
import os
import pathlib
import ssl
import struct
import sys
import tempfile
import time
import unittest
import warnings
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "faults"), str(ROOT / "tests" / "http"), str(ROOT / "tests" / "hostile"),
                str(ROOT / ".deps" / "python_newest")]
try:
    import grpc
except ImportError:
    print("skipped: grpcio is missing; scripts/setup.sh --tests fetches it")
    sys.exit(77)
from certificates import Authority  # noqa: E402
from edge_proxies import Edge  # noqa: E402
from fault_stack import JSON, SAMPLE, Stack, body_of  # noqa: E402
from h2_caller import Caller, field  # noqa: E402
from http_stack import key_file  # noqa: E402
from test_programs import program  # noqa: E402

BINARIES = pathlib.Path(sys.argv.pop(1)).resolve()
KEY = {"authorization": "Bearer alice"}
GATEWAY = "/diptych.v1.GatewayService/"
HOST = "diptych.example"


def question(image=SAMPLE, tokens=12, least=0):
    """An AskRequest or AskStreamRequest."""
    options = field(1, tokens) + (field(2, least) if least else b"")
    return field(1, field(1, field(1, image)) + field(3, "What color is the circle?") + field(4, options))


def large_image():
    """A PNG of 3 MB that no compression makes smaller."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + os.urandom(3 * 1000) for _ in range(1000))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1000, 1000, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


class Through:
    """The tests; a subclass says through what."""
    name = None

    @classmethod
    def setUpClass(cls):
        if not program(cls.name):
            raise unittest.SkipTest(f"{cls.name} is not installed")
        cls.authority = Authority()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        keys = pathlib.Path(folder.name) / "keys.json"
        key_file(keys, alice={})
        cls.stack = Stack(BINARIES, gateway_flags=[f"--api_keys_file={keys}", f"--http_hosts={HOST}"])
        cls.addClassCleanup(cls.stack.stop)
        cls.edge = Edge(cls.name, cls.authority, cls.stack.gateway.port, cls.stack.http_port)
        cls.addClassCleanup(cls.edge.stop)
        cls.context = ssl.create_default_context(cafile=cls.authority.certificate)
        cls.edge.await_up(lambda: cls.http("GET", "/healthz/live"))
        cls.channel = grpc.secure_channel(f"localhost:{cls.edge.port}", grpc.ssl_channel_credentials(cls.authority.certificate.read_bytes()))
        cls.addClassCleanup(cls.channel.close)

    def tearDown(self):
        self.stack.await_idle(30)

    def in_the_middle(self, begin):
        """What `begin` gives for a long answer, begun again until the gateway still makes it when its first pieces are here. A proxy
        that gathers answers never gets there."""
        for _ in range(20):
            begun = begin()
            if self.stack.gateway.metric("diptych_requests_running"):
                return begun
            list(begun)
        self.fail("pieces come when the answer is whole, and not before")

    @classmethod
    def connect(cls):
        return http.client.HTTPSConnection("localhost", cls.edge.port, timeout=60, context=cls.context)

    @classmethod
    def http(cls, method, path, body=None, headers=None):
        connection = cls.connect()
        try:
            connection.request(method, path, body, JSON | KEY | (headers or {}))
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()
        finally:
            connection.close()

    def unary(self, message, method="Ask", metadata=(("authorization", "Bearer alice"),)):
        return self.channel.unary_unary(GATEWAY + method)(message, timeout=60, metadata=metadata)

    def stream(self, message):
        return self.channel.unary_stream(GATEWAY + "AskStream")(message, timeout=60, metadata=[("authorization", "Bearer alice")])

    # gRPC.

    def test_grpc_asks(self):
        self.assertIn(b"red", self.unary(question()))

    def test_grpc_takes_an_image_of_megabytes(self):
        self.assertGreater(len(self.unary(question(large_image()))), 0)

    def test_grpc_errors_keep_status_and_reason(self):
        with self.assertRaises(grpc.RpcError) as raised:
            self.unary(question(b"no image"))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        details = dict(raised.exception.trailing_metadata())["grpc-status-details-bin"]
        self.assertIn(b"IMAGE", details)
        with self.assertRaises(grpc.RpcError) as raised:
            self.unary(question(), metadata=())
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAUTHENTICATED)

    def begin_stream(self):
        messages = self.stream(question(tokens=100, least=100))
        next(messages), next(messages)
        return messages

    def test_grpc_streams_while_the_answer_is_made(self):
        self.assertGreater(len(list(self.in_the_middle(self.begin_stream))), 10)  # busy processes put tokens together

    def test_grpc_cancels_as_far_as_the_tiers(self):
        cancelled = 'diptych_requests_total{code="CANCELLED"'
        for _ in range(20):
            self.in_the_middle(self.begin_stream).cancel()
            self.stack.await_idle()
            if all(cancelled in process.metrics() for process in (self.stack.gateway, self.stack.languages[0])):
                return
        self.fail("the tiers go on for callers that have gone")

    def test_grpc_health(self):
        reply = self.channel.unary_unary("/grpc.health.v1.Health/Check")(field(1, "diptych.v1.GatewayService"), timeout=60)
        self.assertEqual(reply, field(1, 1))  # SERVING

    def test_grpc_metadata_that_is_no_base64_costs_others_nothing(self):
        """gRPC 1.51 ends the connection over it (CVE-2023-32732), on which an edge may have sent the calls of others."""
        watch = self.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=60)
        next(watch)
        tls = ssl.create_default_context(cafile=self.authority.certificate)
        tls.set_alpn_protocols(["h2"])
        for place in ("header", "trailer") * 6:
            caller = Caller(self.edge.port, window=1 << 16, tls=tls)
            if place == "header":
                call = caller.call("grpc.health.v1.Health/Check", metadata=[("x-bin", "!!!!")])
            else:
                call = caller.call("grpc.health.v1.Health/Check", end=False)
                caller.finish(call, [("x-bin", "!!!!")])
            caller.listen(30, until=lambda: call in caller.ended)
            caller.close()
            self.test_grpc_health()
        self.assertTrue(watch.is_active(), "its call was on the connection that was ended")
        watch.cancel()

    # HTTP.

    def test_http_asks(self):
        status, _, body = self.http("POST", "/v1/chat/completions", json.dumps(body_of("What color is the circle?", SAMPLE)), {"host": HOST})
        self.assertEqual((status, json.loads(body)["choices"][0]["message"]["content"]), (200, "red"))

    def test_http_takes_an_image_of_megabytes(self):
        status, _, body = self.http("POST", "/v1/chat/completions", json.dumps(body_of("What color is the circle?", large_image())))
        self.assertEqual(status, 200, body)

    def begin_events(self):
        connection = self.connect()
        self.addCleanup(connection.close)
        body = body_of("What color is the circle?", SAMPLE, stream=True, ignore_eos=True) | {"max_tokens": 100}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), JSON | KEY)
        reply = connection.getresponse()
        self.assertEqual((reply.status, reply.headers["content-type"].partition(";")[0]), (200, "text/event-stream"))
        for _ in range(3):
            reply.readline()
        return reply

    def test_http_streams_events_while_the_answer_is_made(self):
        self.assertTrue(self.in_the_middle(self.begin_events).read().rstrip().endswith(b"data: [DONE]"))

    def test_http_errors_keep_status_and_body(self):
        for body, headers, wanted in (("{", {}, 400), (json.dumps(body_of("x", b"no image")), {}, 400),
                                      (json.dumps(body_of("x", None) | {"model": "other"}), {}, 404),
                                      (json.dumps(body_of("x", None)), {"authorization": "Bearer nobody"}, 401)):
            status, _, reply = self.http("POST", "/v1/chat/completions", body, headers)
            self.assertEqual(status, wanted, reply)
            self.assertIn("message", json.loads(reply)["error"])

    def test_http_bodies_over_the_bound_are_refused(self):
        connection = self.connect()
        self.addCleanup(connection.close)
        connection.putrequest("POST", "/v1/chat/completions")
        for name, value in (JSON | KEY | {"content-length": str(100 << 20)}).items():
            connection.putheader(name, value)
        connection.endheaders()
        self.assertEqual(connection.getresponse().status, 413)

    def test_metrics_are_not_for_callers(self):
        status, _, body = self.http("GET", "/metrics")
        self.assertEqual(status, 404)
        self.assertNotIn(b"metrics_listen", body, "the gateway's own 404")
        for spelling in ("/metrics/", "//metrics", "/metrics?", "/%6detrics", "/./metrics"):
            self.assertEqual(self.http("GET", spelling)[0], 404, spelling)
        self.assertEqual(self.http("GET", "/healthz/ready")[0], 200)

    # Both.

    def test_a_gateway_that_is_gone_is_unavailable_and_comes_back(self):
        self.stack.gateway.kill()
        with self.assertRaises(grpc.RpcError) as raised:
            self.unary(question())
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertIn(self.http("GET", "/v1/models")[0], (502, 503))
        self.stack.gateway.restart()
        end = time.monotonic() + 30
        while self.http("GET", "/v1/models")[0] != 200:
            self.assertLess(time.monotonic(), end)
        self.assertIn(b"red", self.unary(question()))

    def test_old_tls_is_refused(self):
        old = ssl.create_default_context(cafile=self.authority.certificate)
        with warnings.catch_warnings(action="ignore"):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with self.assertRaises(OSError):
            http.client.HTTPSConnection("localhost", self.edge.port, timeout=60, context=old).connect()


class NginxTest(Through, unittest.TestCase):
    name = "nginx"


class HaproxyTest(Through, unittest.TestCase):
    name = "haproxy"


class EnvoyTest(Through, unittest.TestCase):
    name = "envoy"


if __name__ == "__main__":
    unittest.main()
