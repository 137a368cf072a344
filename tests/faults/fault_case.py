"""What the suites of faults share: a seed that repeats a run, rows that only `make faults` runs, and figures.

Each is run as: SUITE_test.py FOLDER_OF_BINARIES [--seed=N] [--whole] [unittest's arguments]. `make faults` runs the whole with three seeds;
without --whole there are fewer callers and rows, as in `make test`. At its end a suite prints what was measured, one line a row.
"""
import pathlib
import random
import struct
import sys
import unittest
import zlib

from fault_stack import SAMPLE

BINARIES = pathlib.Path(sys.argv.pop(1)).resolve()
WHOLE = "--whole" in sys.argv
SEED = next((int(argument.partition("=")[2]) for argument in sys.argv if argument.startswith("--seed=")), 1)
sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--whole" and not argument.startswith("--seed=")]
TRUE_ANSWER = "red"
measured = {}


def whole_only(test):
    return unittest.skipUnless(WHOLE, "a row of `make faults`")(test)


def answer(outcome):
    return outcome[1]["choices"][0]["message"]["content"] if outcome[0] == 200 else None


def new_image(number):
    """That no cache knows: bytes behind the end of a PNG are no part of it."""
    return SAMPLE + str(number).encode()


def small_image(number):
    """Of 32 x 32 pixels, that no cache knows; it fits into HTTP/2's first window."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header, rows = struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0), (b"\0" + bytes(3 * 32)) * 32
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"") + str(number).encode())


class FaultCase(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(f"{SEED} {self.id()}")

    def measure(self, what):
        measured[self.id().rpartition(".")[2]] = what

    def expect_true(self, outcomes):
        """Each outcome is the right answer."""
        self.assertGreater(len(outcomes), 0)
        for outcome in outcomes:
            self.assertNotIsInstance(outcome, Exception, outcome)
            self.assertEqual(answer(outcome), TRUE_ANSWER, outcome)

    def ask_new(self, stack):
        numbers = iter(range(self.random.randrange(1 << 30), 1 << 62))
        return lambda: stack.ask(image=new_image(next(numbers)))

    def kill_again_and_again(self, stack, stopped, longest_pause):
        """One language replica after the other, in the midst of what it does, until `stopped` is set."""
        while not stopped.wait(self.random.uniform(0.05, longest_pause)):
            lost = self.random.choice(stack.languages)
            lost.kill()
            lost.restart()
            stopped.wait(1.5)  # until the gateway has found it again

    @staticmethod
    def slowest(outcomes):
        return max(outcome[2] for outcome in outcomes)


def run():
    program = unittest.main(module="__main__", exit=False)
    print(f"seed {SEED}")
    for row, what in measured.items():
        print(f"{row}: {what}")
    sys.exit(not program.result.wasSuccessful())
