"""Callers without a key, where keys are asked for: nothing of theirs is waited for, read or answered.

Usage: without_key_test.py FOLDER_OF_BINARIES; run by ctest as `without_key_test`.
"""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))
from h2_caller import Caller, field
from http_stack import KeyedStack
from surface import KEYED

UNAUTHENTICATED = 16
# One that could be a key's beginning, and bytes that gRPC's own client would abort over.
KEYS = [(), (("authorization", "Bearer alic"),), (("authorization", "Bearer"),), (("authorization", "alice"),),
        (("authorization", "Bearer \u00e9\u0085"),), (("authorization", "Bearer a\tb"),),
        (("authorization", "Bearer alice"), ("authorization", "Bearer alice"))]


class WithoutKeyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = KeyedStack(sys.argv[1])

    @classmethod
    def tearDownClass(cls):
        statuses = cls.stack.stop()
        assert statuses == [0, 0, 0], statuses

    def outcome(self, method, metadata, message=field(1, "x"), end=True):
        caller = Caller(self.stack.grpc_port, window=65535)
        call = caller.call(method, message, metadata, end)
        caller.listen(10, until=lambda: call in caller.status or call in caller.ended)
        caller.close()
        return caller.status.get(call), caller.data.get(call)

    def test_every_method_asks_for_it(self):
        for method in KEYED:
            for metadata in KEYS:
                status, data = self.outcome(method, metadata)
                self.assertEqual((status, data), (UNAUTHENTICATED, None), (method, metadata))

    def test_a_stream_is_not_waited_for(self):
        status, data = self.outcome("inference.GRPCInferenceService/ModelStreamInfer", (), end=False)
        self.assertEqual((status, data), (UNAUTHENTICATED, None))

    def test_what_callers_say_to_grpc_is_not_logged(self):
        caller = Caller(self.stack.grpc_port, window=65535)
        calls = [caller.call(KEYED[0], b"", (("content-type", f"text/mallory-{i}"),)) for i in range(50)]
        caller.listen(10, until=lambda: caller.ended.issuperset(calls))
        caller.close()
        log = self.stack.gateway_log()
        self.assertNotIn("mallory", log)
        self.assertLess(log.count("gRPC"), 10)

    def test_one_with_a_key_is_answered(self):
        status, data = self.outcome("diptych.v1.GatewayService/GetModel", (("authorization", "Bearer alice"),), b"")
        self.assertEqual(status, 0)
        self.assertTrue(data)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
