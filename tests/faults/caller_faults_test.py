"""Callers that leave at any moment, or never read: what they held must be free, and others must be served (fault_case.py)."""
import json
import pathlib
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "hostile"))
from h2_caller import Caller, field  # noqa: E402
from fault_case import BINARIES, WHOLE, FaultCase, new_image, run, small_image, whole_only  # noqa: E402
from fault_stack import Stack, body_of  # noqa: E402


class CallerFaultsTest(FaultCase):
    @staticmethod
    def request(image, **options):
        body = json.dumps(body_of("What color is the circle?", image, **options)).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def test_callers_leave_at_each_stage(self):
        """HTTP: after a part of the request, or all of it and a moment of the answer's making."""
        count = 200 if WHOLE else 20
        with Stack(BINARIES) as stack:
            for number in range(count):
                request = self.request(new_image(number), stream=number % 2 == 0, ignore_eos=True, max_tokens=60)
                sent = self.random.choice((0, 20, 150, len(request) // 2, len(request) - 1, *[len(request)] * 5))
                with socket.create_connection(("127.0.0.1", stack.http_port)) as connection:
                    connection.sendall(request[:sent])
                    time.sleep(self.random.uniform(0, 0.15))
            stack.await_idle()
            self.expect_true([stack.ask()])
            self.measure(f"{count} of {count} let go")

    def test_calls_are_cancelled_at_each_stage(self):
        """gRPC, with all of a connection's calls going on while one is cancelled."""
        count = 200 if WHOLE else 20
        with Stack(BINARIES) as stack:
            caller = Caller(stack.gateway.port, window=65_535)
            for number in range(count):
                message = field(1, field(1, field(1, small_image(number))) + field(3, "What?") + field(4, field(1, 60) + field(2, 60)))
                method = ("Ask", "AskStream")[number % 2]
                call = caller.call(f"diptych.v1.GatewayService/{method}", message, end=self.random.random() < 0.9)
                caller.listen(self.random.uniform(0, 0.15))
                if call not in caller.ended:
                    caller.cancel(call)
            caller.close()
            stack.await_idle()
            self.expect_true([stack.ask()])
            self.measure(f"{count} of {count} let go")

    @whole_only
    def test_callers_that_never_read_hold_up_nobody(self):
        with Stack(BINARIES) as stack:
            callers = [Caller(stack.gateway.port, window=0) for _ in range(50)]
            message = field(1, field(3, "What color is the circle?") + field(4, field(1, 100) + field(2, 100)))
            for caller in callers:
                caller.call("diptych.v1.GatewayService/AskStream", message)
            outcomes = [stack.ask() for _ in range(10)]
            self.expect_true(outcomes)
            stack.await_idle(seconds=60)
            for caller in callers:
                caller.close()
            self.measure(f"50 calls ended; honest callers' slowest answer {self.slowest(outcomes):.2f} s")

    @whole_only
    def test_messages_of_grpc_that_never_end_hold_up_nobody(self):
        """Half of them trickle, of the others 10 MB come at once."""
        count, patience = 50, 60
        with Stack(BINARIES) as stack:
            callers = [Caller(stack.gateway.port, window=65_535) for _ in range(count)]
            begun = [(caller, caller.begin("diptych.v1.GatewayService/Ask", 60_000_000)) for caller in callers]
            for caller, call in begun[::2]:
                caller.push(call, 10_000_000)
            outcomes, begin = [], time.monotonic()
            while begun and time.monotonic() < begin + 2 * patience:
                outcomes.append(stack.ask())
                for caller, call in begun:
                    caller.push(call, 1)
                    caller.listen(0.01)
                begun = [(caller, call) for caller, call in begun if call not in caller.ended]
            took = time.monotonic() - begin
            self.assertEqual(len(begun), 0)
            self.expect_true(outcomes)
            stack.await_idle()
            for caller in callers:
                caller.close()
            self.measure(f"{count} of them ended within {took:.0f} s; {len(outcomes)} of {len(outcomes)} honest callers answered meanwhile, "
                         f"the slowest in {self.slowest(outcomes):.2f} s")


if __name__ == "__main__":
    run()
