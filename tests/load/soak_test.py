"""Hours of mixed load: memory, descriptors, threads and KV blocks of all three processes must not creep.

Usage: soak_test.py FOLDER_OF_BINARIES [--minutes=N]; `make soak` runs it for an hour or MINUTES, `make test` for a fifth of a minute. Memory is
judged over the second half of the samples: by its slope where that half holds STEADY questions, else by what it grew, since an allocator's arenas
still fill in the first ten thousand.
"""
import os
import pathlib
import random
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "faults"))
from fault_stack import SAMPLE, Callers, Stack  # noqa: E402

BINARIES = pathlib.Path(sys.argv.pop(1)).resolve()
MINUTES = next((float(argument.partition("=")[2]) for argument in sys.argv if argument.startswith("--minutes=")), 0.2)
sys.argv[1:] = [argument for argument in sys.argv[1:] if not argument.startswith("--minutes=")]
STEADY = 20_000
MOST_MIB_OF_10_000 = 1.0
MOST_MIB_OF_A_SHORT_RUN = 6.0
CACHES = ["--cache_bytes=2MiB"]  # full within some thousand questions, so that their filling is no creep


class Usage:
    """Of one process, at one moment."""

    def __init__(self, process):
        folder = pathlib.Path(f"/proc/{process.pid}")
        self.bytes = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        self.descriptors = len(list((folder / "fd").iterdir()))
        self.threads = len(list((folder / "task").iterdir()))


def slope(points):
    """Of the least squares' line through (x, y)."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / (sum((x - mean_x) ** 2 for x, _ in points) or 1)


class SoakTest(unittest.TestCase):
    def ask_as_people_do(self, stack):
        """One caller's next question: text, a known image, a new one, a stream, or one that is left. True, or when what came instead."""
        choice = random.Random()
        def ask():
            kind = choice.randrange(10)
            if kind == 0:
                return self.judged(stack.stream(image=SAMPLE), "red")
            if kind == 1:
                return self.leave(stack)
            if kind == 2:
                status, reply, _ = stack.ask("Hello?", image=None, seed=choice.randrange(1 << 30), temperature=1.0)
                return self.judged((status, reply if status != 200 else None), (200, None))
            image = SAMPLE + str(choice.random()).encode() if kind == 3 else SAMPLE
            status, reply, _ = stack.ask(image=image)
            return self.judged((status, reply["choices"][0]["message"]["content"] if status == 200 else reply), (200, "red"))
        return ask

    @staticmethod
    def judged(got, wanted):
        return got == wanted or (time.strftime("%T"), got)

    @staticmethod
    def leave(stack):
        connection = stack.connect()
        connection.putrequest("POST", "/v1/chat/completions")
        connection.putheader("content-length", "1000")
        connection.endheaders(b"{")
        connection.close()
        return True

    def test_nothing_creeps(self):
        with Stack(BINARIES, tier_flags=CACHES) as stack:
            names = dict(zip(stack.processes, ("gateway", "language", "vision")))
            warm = Callers(4, self.ask_as_people_do(stack))
            warm.await_more(100)
            self.expect_true(warm.stop(), stack.gateway)
            stack.await_idle()
            before = {process: Usage(process) for process in names}
            callers, end = Callers(4, self.ask_as_people_do(stack)), time.monotonic() + 60 * MINUTES
            samples = {process: [] for process in names}
            pause = threading.Event()
            while time.monotonic() < end:
                pause.wait(min(5, MINUTES * 2))
                for process in names:
                    samples[process].append((len(callers.outcomes), Usage(process).bytes))
            outcomes = callers.stop()
            self.expect_true(outcomes, stack.gateway)
            stack.await_idle()
            self.assertEqual(stack.languages[0].metric("diptych_kv_cache_usage_ratio"), 0)
            print(f"{len(outcomes)} questions in {MINUTES} minutes, all answered")
            for process, name in names.items():
                with self.subTest(name):
                    self.judge(name, before[process], Usage(process), samples[process][len(samples[process]) // 2:])

    def expect_true(self, outcomes, gateway):
        wrong = [outcome for outcome in outcomes if outcome is not True]
        if wrong:
            print("\n".join(line for line in gateway.log().splitlines() if " info " not in line))
        self.assertEqual((wrong, len(wrong)), ([], 0), f"of {len(outcomes)}")

    def judge(self, name, before, after, points):
        mib = slope(points) * 10_000 / (1 << 20)
        asked, grown = points[-1][0] - points[0][0], (points[-1][1] - points[0][1]) / (1 << 20)
        print(f"{name}: {after.bytes >> 20} MiB, {mib:+.2f} MiB in 10,000 questions ({grown:+.2f} over the last {asked}); "
              f"{before.descriptors} -> {after.descriptors} descriptors, {before.threads} -> {after.threads} threads")
        self.assertLessEqual(after.descriptors, before.descriptors + 8, "connections between tiers come and go")
        self.assertLessEqual(after.threads, before.threads + 8, "gRPC's pool breathes")
        if asked >= STEADY:
            self.assertLess(mib, MOST_MIB_OF_10_000)
        else:
            self.assertLess(grown, MOST_MIB_OF_A_SHORT_RUN)


if __name__ == "__main__":
    unittest.main()
