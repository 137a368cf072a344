"""Three times as many questions as can be answered, one key that floods, and callers that trickle.

Usage: overload_test.py FOLDER_OF_BINARIES [--seconds=N]; `make overload` runs it with 20 seconds a phase, `make test` with 2. What is
asserted are counts: nobody lost, every refusal with a time to come back, nothing held in the end. What is printed are ratios of one run.
"""
import asyncio
import os
import pathlib
import random
import sys
import tempfile
import time
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / folder) for folder in ("faults", "http")]
from fault_stack import Stack, body_of  # noqa: E402
from http_load import Load, percentile, steady_rate  # noqa: E402
from http_stack import key_file  # noqa: E402
import wide_model  # noqa: E402

BINARIES = pathlib.Path(sys.argv.pop(1)).resolve()
SECONDS = next((float(argument.partition("=")[2]) for argument in sys.argv if argument.startswith("--seconds=")), 2)
sys.argv[1:] = [argument for argument in sys.argv[1:] if not argument.startswith("--seconds=")]
PLACES = 16


class OverloadTest(unittest.TestCase):
    def setUp(self):
        self.numbers, self.lengths = iter(range(1 << 30)), random.Random(1)
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def body(self, shortest=30, longest=90):
        """A question of its own about no image: the decoder is what is short. Answers differ in length, since callers that ask again and
        again would else go in step and share each pass, which those that come by chance do not."""
        return body_of(f"What is number {next(self.numbers)}?", None, ignore_eos=True) | {"max_tokens": self.lengths.randint(shortest, longest)}

    def start(self, *flags, **options):
        stack = Stack(BINARIES, gateway_flags=[f"--max_inflight={PLACES}", *flags], **options)
        self.addCleanup(stack.stop)
        return stack

    def check(self, stack, outcomes):
        """Counts that hold on any machine."""
        self.assertLessEqual({outcome.status for outcome in outcomes}, {200, 429, 503})
        self.assertTrue(all(outcome.retry_after for outcome in outcomes if outcome.status != 200))
        stack.await_idle(30)

    def say(self, text):
        print(f"{self.id().rpartition('.')[2]}: {text}")

    def test_three_times_what_can_be_answered(self):
        self.overload(self.start(), self.body)

    @unittest.skipIf(SECONDS < 10, "only in make overload: an answer takes seconds")
    def test_three_times_what_a_decoder_of_125_million_can_answer(self):
        wide_model.write(self.folder.name)
        self.overload(self.start(model=self.folder.name), lambda: self.body(10, 30))

    def overload(self, stack, body):
        load, begin = Load(stack.http_port), time.monotonic()
        outcomes, _ = asyncio.run(load.closed(PLACES, SECONDS, body))
        capacity, begin = steady_rate(outcomes, begin, SECONDS), time.monotonic()
        outcomes = asyncio.run(load.open({"": 3 * capacity}, SECONDS, body))
        self.check(stack, outcomes)
        goodput = steady_rate(outcomes, begin, SECONDS)
        refused = [outcome.seconds for outcome in outcomes if outcome.status != 200]
        self.assertTrue(refused, "that was no overload")
        self.say(f"{len(outcomes)} asked at 3 x {capacity:.0f} a second; goodput {goodput / capacity:.0%} of capacity; "
                 f"{len(refused)} refused in {percentile(refused, 0.5) * 1e3:.1f} ms, "
                 f"p99 {percentile(refused, 0.99) * 1e3:.1f} ms; the generator was late by {percentile([o.late for o in outcomes], 0.99) * 1e3:.1f} ms (p99)")

    def test_a_key_that_floods_leaves_the_other_its_share(self):
        keys = pathlib.Path(self.folder.name) / "keys.json"
        key_file(keys, flood={}, honest={})
        stack = self.start(f"--api_keys_file={keys}")
        load, honest_callers = Load(stack.http_port), PLACES // 4
        _, capacity = asyncio.run(load.closed(PLACES, SECONDS, self.body, "honest"))

        async def measure():
            flooding = asyncio.create_task(load.open({"flood": 3 * capacity}, SECONDS, self.body))
            honest, rate = await load.closed(honest_callers, SECONDS, self.body, "honest")
            return honest, rate, await flooding

        honest, rate, flood = asyncio.run(measure())
        self.check(stack, honest + flood)
        self.assertEqual({outcome.status for outcome in honest}, {200}, "so few at once are never more than a key's share of the room")
        self.say(f"{honest_callers} honest callers: {rate:.0f} answers a second of {capacity:.0f}, p99 {percentile([o.seconds for o in honest], 0.99):.2f} s; "
                 f"flood asked 3 x: {sum(o.status == 200 for o in flood) / len(flood):.0%} of {len(flood)} answered")

    def test_callers_that_trickle_cost_honest_ones_little(self):
        stack, tricklers = self.start(), 500

        async def measure():
            load, stopped = Load(stack.http_port), asyncio.Event()
            alone, _ = await load.closed(4, SECONDS, self.body)
            slow = asyncio.create_task(load.trickle(tricklers, stopped))
            await asyncio.sleep(1)
            beside, _ = await load.closed(4, SECONDS, self.body)
            stopped.set()
            return alone, beside, await slow

        alone, beside, ended = asyncio.run(measure())
        self.assertEqual({outcome.status for outcome in alone + beside}, {200})
        stack.await_idle(30)
        p99 = [percentile([outcome.seconds for outcome in outcomes], 0.99) for outcomes in (alone, beside)]
        self.say(f"p99 {p99[0] * 1e3:.0f} ms alone, {p99[1] * 1e3:.0f} ms with {tricklers} that trickle ({p99[1] / p99[0]:.2f} x); "
                 f"{ended} of these were ended")


if __name__ == "__main__":
    print(f"{os.cpu_count()} processors, {SECONDS:.0f} s a phase")
    unittest.main()
