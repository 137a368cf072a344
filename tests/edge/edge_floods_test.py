"""What the proxies of deploy/edge keep from the gateway, which of itself has no defence against floods of HTTP/2.

Usage: edge_floods_test.py FOLDER_OF_BINARIES; run by ctest as `edge_floods_test`. At its end it prints what each proxy did.
"""
import contextlib
import http.client
import json
import pathlib
import ssl
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "faults"), str(ROOT / "tests" / "hostile")]
import http2_floods as floods  # noqa: E402
from certificates import Authority  # noqa: E402
from edge_proxies import Edge  # noqa: E402
from fault_stack import JSON, SAMPLE, Callers, Stack, body_of  # noqa: E402
from test_programs import program  # noqa: E402

BINARIES = pathlib.Path(sys.argv.pop(1)).resolve()
MEMORY = 64 << 20  # by which nothing may grow, whatever a flood carries
measured = {}


class Floods:
    """The tests; a subclass says of what."""
    name = None

    @classmethod
    def setUpClass(cls):
        if not program(cls.name):
            raise unittest.SkipTest(f"{cls.name} is not installed")
        authority = cls.authority = Authority()
        cls.stack = Stack(BINARIES, gateway_flags=["--http_hosts=diptych.example"])
        cls.addClassCleanup(cls.stack.stop)
        cls.edge = Edge(cls.name, authority, cls.stack.gateway.port, cls.stack.http_port)
        cls.addClassCleanup(cls.edge.stop)
        cls.http1 = ssl.create_default_context(cafile=authority.certificate)
        cls.http2 = ssl.create_default_context(cafile=authority.certificate)
        cls.http2.set_alpn_protocols(["h2"])
        cls.edge.await_up(cls.ask)

    @classmethod
    def ask(cls):
        """An honest question's status."""
        connection = http.client.HTTPSConnection("localhost", cls.edge.port, timeout=60, context=cls.http1,
                                                 source_address=("127.0.0.2", 0))  # rates are of an address
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body_of("What color is the circle?", SAMPLE)), JSON)
            return connection.getresponse().status
        finally:
            connection.close()

    def ask_in_peace(self):
        time.sleep(0.1)  # below the rates of deploy/edge
        return self.ask()

    def memory(self):
        return self.edge.resident_bytes(), self.stack.gateway.metric("process_resident_memory_bytes")

    def seconds(self):
        """Of a processor, that proxy and gateway have taken."""
        return self.edge.processor_seconds(), self.stack.gateway.metric("process_cpu_seconds_total")

    def calls(self):
        """That the gateway has seen, honest ones included."""
        return self.stack.gateway.metric("diptych_requests_total")

    def endure(self, frames, **how):
        """Floods the proxy while honest callers ask; says how it ended."""
        before, seconds, honest = self.memory(), self.seconds(), Callers(2, self.ask_in_peace)
        try:
            taken, end = floods.flood(self.edge.port, self.http2, frames, **how)
        finally:
            outcomes = honest.stop()
        self.assertEqual(set(outcomes) | {self.ask()}, {200})
        self.stack.await_idle()
        for now, then in zip(self.memory(), before):
            self.assertLess(now - then, MEMORY)
        spent = (f"{now - then:.1f}" for now, then in zip(self.seconds(), seconds))
        measured[f"{self.name}: {self.id().rpartition('.test_')[2]}"] = f"{end} after {taken:,} bytes; proxy and gateway took {' and '.join(spent)} s"
        return end

    def test_bodies_that_stop(self):
        """On many connections, each within its bounds: more than the edge may have to the gateway, or the gateway waits for."""
        with contextlib.ExitStack() as open_connections:
            for _ in range(12):
                connection = open_connections.enter_context(floods.connect(self.edge.port, self.http2))
                connection.sendall(floods.PREFACE + floods.SettingsFrame(0).serialize() + b"".join(floods.bodies_that_stop(60)))
            self.assertEqual({self.ask() for _ in range(3)}, {200})
        self.stack.await_idle()

    def test_rapid_reset(self):
        before, count = self.calls(), 20_000
        self.endure(floods.rapid_reset(count))
        self.assertLess(self.calls() - before, count / 20)

    def test_streams_reset_by_the_server(self):
        before, count = self.calls(), 20_000
        self.endure(floods.reset_by_the_server(count))
        self.assertLess(self.calls() - before, count / 20)

    def test_unfinished(self):
        self.endure(floods.unfinished())

    def test_continuation(self):
        self.assertEqual(self.endure(floods.continuation(), ping=False), "ended")

    def test_endless_field(self):
        self.assertEqual(self.endure(floods.endless_field(), ping=False), "ended")

    def test_header_bomb(self):
        self.endure(floods.header_bomb())

    def test_nameless_fields(self):
        self.endure(floods.nameless_fields())

    def test_table_thrash(self):
        self.endure(floods.table_thrash())

    def test_pings(self):
        self.endure(floods.pings(), listen=False)

    def test_settings(self):
        self.endure(floods.settings(), listen=False)

    def test_priorities(self):
        self.endure(floods.priorities())

    def test_empty_data(self):
        self.endure(floods.empty_data())

    def test_window_overflow(self):
        self.assertEqual(self.endure(floods.window_overflow()), "ended")

    def test_drip(self):
        self.endure(floods.drip())


class NginxFloodsTest(Floods, unittest.TestCase):
    name = "nginx"


class HaproxyFloodsTest(Floods, unittest.TestCase):
    name = "haproxy"


class EnvoyFloodsTest(Floods, unittest.TestCase):
    name = "envoy"


if __name__ == "__main__":
    program_ = unittest.main(exit=False)
    for row, what in sorted(measured.items()):
        print(f"{row}: {what}")
    sys.exit(not program_.result.wasSuccessful())
