"""Very many callers at the same moment, each with a connection of its own: every one is answered in the end.

Usage: at_once_test.py FOLDER_OF_BINARIES [--callers=N]; `make overload` runs it with 2,000 callers, `make test` with 200. A caller that is told
to come back does so, as often as it is told. Asserted: each has its true answer, nobody was told anything else than "later", and nothing is held.
"""
import asyncio
import collections
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "faults"))
from fault_stack import SAMPLE, Stack, body_of  # noqa: E402
from http_load import exchange  # noqa: E402

BINARIES = pathlib.Path(sys.argv.pop(1)).resolve()
CALLERS = next((int(argument.partition("=")[2]) for argument in sys.argv if argument.startswith("--callers=")), 200)
sys.argv[1:] = [argument for argument in sys.argv[1:] if not argument.startswith("--callers=")]
LATER = (429, 503)
QUESTION = "What color is the circle?"


class Caller:
    """One of four kinds: about an image that all know, about one of its own, about none, and with a streamed answer."""

    def __init__(self, port, number):
        self._port, self._kind = port, number % 4
        image = (SAMPLE, SAMPLE + str(number).encode(), None, SAMPLE)[self._kind]
        self._body = body_of(QUESTION if image else f"What is number {number}?", image, stream=self._kind == 3)
        self.told = []

    async def ask(self, begin):
        """Until it is answered or told something else than "later"; whether the answer is the true one."""
        await begin.wait()
        while True:
            status, headers, content = await exchange(self._port, self._body)
            self.told.append(status)
            if status not in LATER:
                return status == 200 and self._is_true(content)
            await asyncio.sleep(float(headers["retry-after"]))

    def _is_true(self, content):
        if self._kind == 3:
            events = [line[6:] for line in content.decode().splitlines() if line.startswith("data: ")]
            pieces = [choice["delta"].get("content") or "" for event in events[:-1] for choice in json.loads(event)["choices"]]
            return events[-1] == "[DONE]" and "".join(pieces) == "red"
        text = json.loads(content)["choices"][0]["message"]["content"]
        return self._kind == 2 or text == "red"


class AtOnceTest(unittest.TestCase):
    def test_each_of_very_many_callers_is_answered(self):
        with Stack(BINARIES) as stack:
            callers = [Caller(stack.http_port, number) for number in range(CALLERS)]
            answered = asyncio.run(self.let_go(callers))
            self.assertEqual([caller.told for caller, true in zip(callers, answered) if not true], [])
            stack.await_idle(30)
            told = collections.Counter(status for caller in callers for status in caller.told)
            print(f"{self.id().rpartition('.')[2]}: {sum(answered)} of {CALLERS} answered, "
                  f"{sum(told[status] for status in LATER)} times told to come back, at most {max(len(caller.told) - 1 for caller in callers)} times each")

    @staticmethod
    async def let_go(callers):
        begin = asyncio.Event()
        asked = [asyncio.create_task(caller.ask(begin)) for caller in callers]
        await asyncio.sleep(0)  # each waits for it
        begin.set()
        return await asyncio.gather(*asked)


if __name__ == "__main__":
    unittest.main()
