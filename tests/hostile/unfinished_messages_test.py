"""Messages that never end, or that are longer than their method takes: nobody keeps them.

gRPC itself collects what comes of a message, whatever its length, and asks nobody. What each process still holds of
messages shows as memory.

Usage: unfinished_messages_test.py FOLDER_OF_BINARIES; run by ctest as `unfinished_messages_test`.
"""
import pathlib
import struct
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))
from h2_caller import Caller, field
from http_stack import KeyedStack
from surface import KEYED, KEYLESS, OF_EACH, WATCH

OK, INVALID_ARGUMENT, UNAUTHENTICATED = 0, 3, 16
KEY = [("authorization", "Bearer alice")]
PATIENT = 7  # messages of 65 MiB in half of 1 GiB
GATEWAY, LANGUAGE, VISION = 2, 1, 0  # places in Stack.processes
ENDED = 15  # seconds
ALLOWED = 64 << 20


class UnfinishedMessagesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = KeyedStack(sys.argv[1])

    @classmethod
    def tearDownClass(cls):
        statuses = cls.stack.stop()
        assert statuses == [0, 0, 0], statuses

    def resident(self, place):
        status = pathlib.Path(f"/proc/{self.stack.processes[place].pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) << 10

    def ports(self):
        return {GATEWAY: self.stack.grpc_port, LANGUAGE: self.stack.language_port, VISION: self.stack.vision_port}

    def test_without_a_key_nothing_is_read(self):
        before = self.resident(GATEWAY)
        for method in KEYED:
            caller = Caller(self.stack.grpc_port, window=65535)
            call = caller.begin(method, 0x7fffffff)
            sent = caller.push(call, 8 << 20)
            caller.listen(ENDED, until=lambda: call in caller.ended)
            self.assertEqual(caller.status.get(call), UNAUTHENTICATED, method)
            self.assertLess(sent, 4 << 20, method)
            caller.close()
        self.assertLess(self.resident(GATEWAY) - before, ALLOWED)

    def test_a_key_has_patience_for_a_few_messages_at_a_time(self):
        caller = Caller(self.stack.grpc_port, window=65535)
        methods = ["diptych.v1.GatewayService/Ask", "inference.GRPCInferenceService/ModelStreamInfer"]
        calls = [caller.begin(methods[i % 2], 1 << 20, KEY) for i in range(3 * PATIENT)]
        for call in calls:
            caller.push(call, 1000)
        caller.listen(ENDED, until=lambda: len(caller.ended) >= 2 * PATIENT)
        self.assertEqual(len(caller.ended), 2 * PATIENT)  # the server may see calls of one moment in another order
        short = caller.call("diptych.v1.GatewayService/GetModel", b"", KEY)
        caller.listen(ENDED, until=lambda: short in caller.ended)
        self.assertEqual(caller.status[short], OK)
        caller.close()

    def test_what_large_messages_took_is_given_back(self):
        before, callers = self.resident(GATEWAY), [Caller(self.stack.grpc_port, window=65535) for _ in range(PATIENT)]
        for caller in callers:
            caller.push(caller.begin("diptych.v1.GatewayService/Ask", 60 << 20, KEY), 50 << 20)
        self.assertGreater(self.resident(GATEWAY) - before, 5 * ALLOWED)
        for caller in callers:
            caller.close()
        until = time.monotonic() + 2 * ENDED
        while self.resident(GATEWAY) - before > ALLOWED and time.monotonic() < until:
            time.sleep(0.5)
        self.assertLess(self.resident(GATEWAY) - before, ALLOWED)

    def test_what_anybody_may_ask_ends_soon(self):
        asked = []
        for place, port in self.ports().items():  # all at once, since each takes its time
            before, caller = self.resident(place), Caller(port, window=65535)
            calls = {caller.begin(method, 0x7fffffff) for method in OF_EACH + (KEYLESS if place == GATEWAY else [])}
            for call in calls:
                caller.push(call, 4 << 20)
            asked.append((place, before, caller, calls))
        for place, before, caller, calls in asked:
            caller.listen(ENDED, until=lambda: caller.ended >= calls)
            self.assertEqual(caller.ended, calls, place)
            caller.close()
            self.assertLess(self.resident(place) - before, ALLOWED)

    def test_what_anybody_may_ask_is_short(self):
        long = field(1, "x" * (1 << 20))
        for place, port in self.ports().items():
            before = self.resident(place)
            for method in OF_EACH + (KEYLESS if place == GATEWAY else []):
                caller = Caller(port, window=65535)
                calls = [caller.begin(method, len(long)) for _ in range(20)]
                for call in calls:
                    caller.push(call, len(long), long)
                caller.listen(ENDED, until=lambda: caller.ended.issuperset(calls))
                self.assertEqual([caller.status.get(call) for call in calls], [INVALID_ARGUMENT] * len(calls), (place, method))
                caller.close()
            self.assertLess(self.resident(place) - before, ALLOWED)

    def test_watches_keep_nothing_of_their_requests(self):
        request = field(1, "x" * 4000)
        for place, port in self.ports().items():
            before = self.resident(place)
            caller = Caller(port, window=65535)
            calls = [caller.begin(WATCH, len(request)) for _ in range(900)]
            for call in calls:
                caller.push(call, len(request), request)
            caller.listen(ENDED, until=lambda: len(caller.data) == len(calls))
            self.assertEqual(set(caller.data.values()), {b"\0" + struct.pack(">I", 2) + field(1, 3)})  # SERVICE_UNKNOWN
            self.assertLess(self.resident(place) - before, ALLOWED)
            caller.close()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
