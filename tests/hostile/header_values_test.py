"""What callers name comes back in headers that a strict HTTP/2 client takes: h2 ends its connection over white space around a value.

Usage: header_values_test.py FOLDER_OF_BINARIES; run by ctest as `header_values_test`.
"""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))
from h2_caller import Caller, field
from http_stack import StackCase

OK, INVALID_ARGUMENT = 0, 3
NAMES = ("", " ", " name", "name ", "\t", "\r\n", "name\x85", "\xa0")


def question(name):
    return field(1, field(3, "What is this?") + field(7, name))


def tensor(name):
    return field(5, field(1, name) + field(2, "BYTES") + field(3, b"\1") + field(5, field(8, "What?")))


class HeaderValuesTest(StackCase):
    def statuses(self, method, messages):
        """All on one connection, which one bad header would end."""
        caller = Caller(self.stack.grpc_port, window=1 << 20)
        calls = [caller.call(method, message) for message in messages]
        caller.listen(30, until=lambda: caller.ended.issuperset(calls))
        caller.close()
        return [caller.status.get(call) for call in calls]

    def test_names_of_inputs(self):
        statuses = self.statuses("inference.GRPCInferenceService/ModelInfer", [field(1, "demo") + tensor(name) for name in NAMES])
        self.assertEqual(statuses, [INVALID_ARGUMENT] * len(NAMES))

    def test_names_of_models(self):
        statuses = self.statuses("inference.GRPCInferenceService/ModelMetadata", [field(1, name or " ") for name in NAMES])
        self.assertEqual(set(statuses) - {INVALID_ARGUMENT}, {5}, statuses)

    def test_ids_of_requests(self):
        ids = ["", " ", " id", "id ", " id "]
        statuses = self.statuses("diptych.v1.GatewayService/Ask", [question(name) for name in ids])
        self.assertEqual(statuses, [OK] * len(ids))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
