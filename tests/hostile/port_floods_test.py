"""Floods of HTTP/2 sent to the gateway's own gRPC port, which has no edge before it: it outlives each, callers are answered meanwhile, and
nothing is held afterwards. What one costs is printed; decision 49 says what is left to an edge, and tests/edge/edge_floods_test.py what that does.

Usage: port_floods_test.py FOLDER_OF_BINARIES; run by ctest as `port_floods_test`.
"""
import concurrent.futures
import itertools
import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "faults"), str(ROOT / "tests" / "edge")]
import http2_floods as floods  # noqa: E402
from fault_stack import Callers, Stack  # noqa: E402

BINARIES = pathlib.Path(sys.argv.pop(1)).resolve()
MEMORY = 192 << 20  # by which the gateway may grow at a flood of megabytes
measured = {}


class PortFloodsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(BINARIES)
        cls.addClassCleanup(cls.stack.stop)

    def spent(self):
        gateway = self.stack.gateway
        return gateway.metric("process_resident_memory_bytes"), gateway.metric("process_cpu_seconds_total")

    def endure(self, frames, most=MEMORY, **how):
        """Floods the gateway while callers ask over HTTP; says how it ended."""
        before, callers = self.spent(), Callers(2, lambda: self.stack.ask()[0])
        try:
            taken, end = floods.flood(self.stack.gateway.port, None, frames, **how)
            callers.await_more(4)
        finally:
            outcomes = callers.stop()
        self.assertEqual(set(outcomes), {200})
        self.stack.await_idle(seconds=30)
        memory, seconds = (now - then for now, then in zip(self.spent(), before))
        self.assertLess(memory, most)
        measured[self.id().rpartition(".test_")[2]] = f"{end} after {taken:,} bytes; {memory / 1e6:.1f} MB, {seconds:.1f} s of a processor"
        return end

    def test_rapid_reset(self):
        self.endure(floods.rapid_reset(20_000))

    def endure_from_many(self, make):
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            others = [pool.submit(floods.flood, self.stack.gateway.port, None, make()) for _ in range(19)]
            self.endure(make(), most=512 << 20)
            self.assertIn("ended", [other.result()[1] for other in others])

    def test_rapid_reset_on_many_connections(self):
        """More streams than there are threads to give them up: 9 MB of them made the gateway hold 3.2 GB."""
        self.endure_from_many(lambda: floods.rapid_reset(20_000))

    def test_nameless_fields_on_many_connections(self):
        self.endure_from_many(lambda: floods.nameless_fields(2_000))

    def test_streams_reset_by_the_server(self):
        self.endure(floods.reset_by_the_server(20_000))

    def test_continuation(self):
        self.assertEqual(self.endure(floods.continuation(), ping=False), "ended")

    def test_endless_field(self):
        self.assertEqual(self.endure(floods.endless_field(), ping=False), "ended")

    def test_headers_that_end_other_versions(self):
        """gRPC's next ones aborted over these (CVE-2023-1428)."""
        for name, size in itertools.product(("te", ":scheme", "grpclb_client_stats"), (0, 9_000, 15_000, 20_000, 60_000)):
            floods.flood(self.stack.gateway.port, None, floods.odd_header(name, size))
        self.endure(floods.odd_header("te", 9_000))

    def test_header_bomb(self):
        self.assertEqual(self.endure(floods.header_bomb()), "ended")

    def test_nameless_fields(self):
        self.assertEqual(self.endure(floods.nameless_fields(2_000)), "ended")

    def test_table_thrash(self):
        self.endure(floods.table_thrash(1_000))

    def test_pings(self):
        self.assertEqual(self.endure(floods.pings(250_000), listen=False), "ended")

    def test_settings(self):
        self.endure(floods.settings(100_000), listen=False)

    def test_priorities(self):
        self.endure(floods.priorities(100_000))

    def test_empty_data(self):
        self.endure(floods.empty_data(30_000))

    def test_unfinished(self):
        self.assertEqual(self.endure(floods.unfinished(100_000)), "ended")

    def test_unfinished_that_never_reads(self):
        self.assertEqual(self.endure(floods.unfinished(100_000), listen=False), "ended")

    def test_window_overflow(self):
        self.endure(floods.window_overflow())

    def test_drip(self):
        self.endure(floods.drip(count=30_000))


if __name__ == "__main__":
    program = unittest.main(exit=False)
    for row, what in sorted(measured.items()):
        print(f"{row}: {what}")
    sys.exit(not program.result.wasSuccessful())
