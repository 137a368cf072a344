"""Clients whose idle connections ping, as gRPC's do with keepalive_permit_without_calls, against the three real processes.

Usage: keepalive_test.py FOLDER_OF_BINARIES; run by ctest as `keepalive_test`.
"""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))
from h2_caller import Caller
from http_stack import StackCase

PINGS = 6       # gRPC ends connections at the third that it finds too many
INTERVAL = 1.5  # seconds between them; clients have 10 and more


class KeepaliveTest(StackCase):
    def test_an_idle_connection_may_ping(self):
        ports = {"Gateway": self.stack.grpc_port, "Language": self.stack.language_port, "Vision": self.stack.vision_port}
        callers = {tier: Caller(port, window=65535) for tier, port in ports.items()}
        for _ in range(PINGS):
            for caller in callers.values():
                if caller.farewell is None:
                    caller.ping()
                caller.listen(INTERVAL / len(callers))
        for tier, caller in callers.items():
            call = caller.call(f"diptych.v1.{tier}Service/Get{tier.replace('Gateway', '')}Model")
            caller.listen(30, until=lambda: call in caller.ended)
            self.assertEqual((caller.farewell, caller.status.get(call)), (None, 0), tier)
            caller.close()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
