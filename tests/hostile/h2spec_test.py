"""h2spec, a judge of HTTP/2 by others, against the gateway's own gRPC port and against the proxies of deploy/edge before it.

Usage: h2spec_test.py FOLDER_OF_BINARIES [--whole]; run by ctest as `h2spec_test`. h2spec/cases.txt says of each case whether our port passes it (+)
or is lenient (-, decision 49). Without --whole only those that must pass are tried, and no proxy. Whatever is sent, the gateway must live, hold
nothing, and answer the next caller.
"""
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "faults"), str(ROOT / "tests" / "edge")]
from certificates import Authority  # noqa: E402
from edge_proxies import Edge  # noqa: E402
from fault_stack import Stack  # noqa: E402
from test_programs import program  # noqa: E402

H2SPEC = ROOT / ".deps" / "h2spec" / "h2spec"
CASES = pathlib.Path(__file__).parent / "h2spec" / "cases.txt"
BINARIES = pathlib.Path(sys.argv.pop(1)).resolve()
WHOLE = "--whole" in sys.argv
sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--whole"]


def judge(port, *options, cases=()):
    """Whether each case was passed, by section and title; those that do not apply are left out."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        # It ends with 1 if a case failed.
        subprocess.run([H2SPEC, "--strict", "-h", "localhost", "-p", str(port), "-j", report.name, *options, *cases], capture_output=True,
                       timeout=280, check=False)
        suites = xml.parse(report.name).getroot()
    return {f"{suite.get('package')} {case.get('classname')}": case.find("failure") is None and case.find("error") is None
            for suite in suites for case in suite.findall("testcase") if case.find("skipped") is None}


def known():
    """(whether our port passes it, section, number, title) of each case."""
    lines = re.findall(r"^([+-]) (\S+)/(\d+) (.*)$", CASES.read_text(encoding="utf-8"), re.MULTILINE)
    return [(mark == "+", section, number, title) for mark, section, number, title in lines]


@unittest.skipUnless(H2SPEC.exists(), "h2spec is missing; scripts/setup.sh --tests builds it where Go is installed")
class H2specTest(unittest.TestCase):
    def setUp(self):
        self.stack = Stack(BINARIES)
        self.addCleanup(self.stack.stop)

    def check_stack(self):
        self.assertTrue(self.stack.gateway.alive())
        self.assertEqual(self.stack.ask()[0], 200)
        self.stack.await_idle()

    def say(self, results):
        print(f"{self.id().rpartition('.')[2]}: {sum(results.values())} of {len(results)} cases passed")

    def test_our_port_passes_what_it_has_passed(self):
        """Some hang on which of two frames comes first, and all on a time limit: what fails is tried again."""
        must = {f"{section} {title}": f"{section}/{number}" for passes, section, number, title in known() if passes}
        results = {}
        for seconds in (2, 2, 2, 2, 2, 2, 4, 8):
            left = [case for title, case in must.items() if not results.get(title)]
            results |= judge(self.stack.gateway.port, "-o", str(seconds), cases=left) if left else {}
        self.assertEqual([title for title in must if not results.get(title)], [])
        self.check_stack()
        self.say(results)

    @unittest.skipUnless(WHOLE, "some wait for their time limit")
    def test_our_port_outlives_the_rest(self):
        results = judge(self.stack.gateway.port)
        self.assertEqual(set(results), {f"{section} {title}" for _, section, _, title in known()})
        self.check_stack()
        self.say(results)

    def through(self, name):
        if not program(name):
            self.skipTest(f"{name} is not installed")
        edge = Edge(name, Authority(), self.stack.gateway.port, self.stack.http_port)
        self.addCleanup(edge.stop)
        results = judge(edge.port, "-t", "-k")
        self.check_stack()
        self.say(results)

    @unittest.skipUnless(WHOLE, "some wait for their time limit")
    def test_behind_nginx(self):
        self.through("nginx")

    @unittest.skipUnless(WHOLE, "some wait for their time limit")
    def test_behind_haproxy(self):
        self.through("haproxy")

    @unittest.skipUnless(WHOLE, "some wait for their time limit")
    def test_behind_envoy(self):
        self.through("envoy")


if __name__ == "__main__":
    unittest.main()
