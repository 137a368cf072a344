"""The clients of examples/ against the demo model: all print the same.

Usage: examples_test.py FOLDER_OF_BINARIES FOLDER_OF_THE_PACKAGE; run by ctest as `examples_test`. Python's needs no build; the others
are run where scripts/examples.sh has built them, and named where it has not, with the reason.
"""
import os
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "http"))
from http_stack import SAMPLE, Stack  # noqa: E402

BINARIES, PACKAGE = sys.argv[1:3]
del sys.argv[1:3]
BUILT = ROOT / ".deps" / "examples"
ENVIRONMENT = {**os.environ, "DIPTYCH_PROTO": str(ROOT / "proto"), "PYTHONPATH": os.pathsep.join([str(pathlib.Path(PACKAGE).resolve()), str(ROOT / ".deps" / "python_newest")])}
COMMANDS = {
    "python": ([sys.executable, ROOT / "examples/python/ask.py"], ROOT / ".deps/python_newest/grpc"),
    "node": (["node", BUILT / "node/ask.mjs"], BUILT / "node/node_modules/@grpc/grpc-js"),
    "cpp": ([BUILT / "cpp/ask"], BUILT / "cpp/ask"),
    "go": ([BUILT / "go/ask"], BUILT / "go/ask"),
    "java": (["java", "-cp", f"{BUILT}/java/classes:{BUILT}/java/lib/*", "Ask"], BUILT / "java/classes/Ask.class"),
    "rust": ([BUILT / "rust/ask"], BUILT / "rust/ask"),
}
OFFLINE = {"cpp"}  # built without any registry, so that it can only fail by itself
# In Rust a call is cancelled by dropping it, and tonic says so too of a deadline that it sees first.
WANTED = (r"answer: red\ntimings: vit [\d.]+\D* of [\d.]+.*\nbudget: 16 image tokens, 131 of 160 left\n"
          r"streamed: red\ncancelled: (cancell?ed|by dropping the stream)\n"
          r"deadline: (deadline_?exceeded.*|cancelled timeout expired)\nrefused: invalid_?argument IMAGE_FORMAT\n")
LONGEST = 60  # lines


class ExamplesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(BINARIES)

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()

    def check(self, language):
        command, needed = COMMANDS[language]
        if not needed.exists():
            why = BUILT / f"{language}.why"
            why = why.read_text().strip() if why.exists() else "scripts/examples.sh, which builds it, was not run"
            self.assertFalse(language in OFFLINE and "could not be built" in why, why)
            print(f"skipped: the client in {language}: {why}", flush=True)
            self.skipTest(why)
        words = [*command, f"127.0.0.1:{self.stack.grpc_port}", SAMPLE, "What color is the circle?"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
        self.assertRegex(done.stdout, re.compile(WANTED, re.IGNORECASE), done.stderr)

    def test_each_is_short(self):
        programs = [path for pattern in ("*/[Aa]sk.*", "go/main.go", "rust/src/main.rs") for path in ROOT.glob(f"examples/{pattern}")]
        self.assertEqual(len(programs), len(COMMANDS))
        for path in programs:
            self.assertLessEqual(len(path.read_text().splitlines()), LONGEST, path)


for name in COMMANDS:
    setattr(ExamplesTest, f"test_{name}", lambda self, name=name: self.check(name))

if __name__ == "__main__":
    unittest.main()
