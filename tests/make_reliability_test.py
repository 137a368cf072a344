"""What tools/make_reliability.py writes into the tables of docs/reliability.md, and what it leaves alone.

Run by ctest as `make_reliability_test`.
"""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import make_reliability  # noqa: E402

PAGE = """Seeds: 14, 15 passed.

| Fault | Promise | Test | Last figure |
|---|---|---|---|
| a | 1 | `test_a` | old |
| b | 1 | `test_b` | old |

| Target | Found | Minutes of a processor | Inputs | Edges |
|---|---|---|---|---|
| `wire` | nothing | 6.5 | 12,543 | 3,172 |
"""


class MakeReliabilityTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.addCleanup(setattr, make_reliability, "MEASURED", make_reliability.MEASURED)
        make_reliability.MEASURED = pathlib.Path(folder.name)

    def measured(self, name, text):
        path = make_reliability.MEASURED / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def test_without_measurements_nothing_changes(self):
        self.assertEqual(make_reliability.fill(PAGE), PAGE)

    def test_what_was_measured_replaces_its_own_figure(self):
        self.measured("faults/seed_3.txt", "seed 3\ntest_a: new\nseed 3 passed\n")
        page = make_reliability.fill(PAGE)
        self.assertIn("| `test_a` | new |", page)
        self.assertIn("| `test_b` | old |", page)

    def test_the_line_of_seeds_says_which_passed(self):
        self.measured("faults/seed_3.txt", "seed 3\ntest_a: new\nseed 3 passed\n")
        self.assertTrue(make_reliability.fill(PAGE).startswith("Seeds: 3 passed.\n"))
        self.measured("faults/seed_12.txt", "seed 12\ntest_a: new\n")
        self.assertTrue(make_reliability.fill(PAGE).startswith("Seeds: 3 passed; 12 did not pass.\n"))

    def test_a_longer_fuzz_run_replaces_a_shorter_one(self):
        self.measured("fuzz/runs.txt", "wire 300 1000 20\nwire 300 500 30\n")
        self.assertIn("| `wire` | nothing | 10.0 | 1,500 | 30 |", make_reliability.fill(PAGE))

    def test_a_fuzz_run_that_was_short_or_none_leaves_the_longer_one(self):
        for run in ("wire 12 900 30", "wire 0.1", "wire 700  ", "wire 700 0 0", ""):
            self.measured("fuzz/runs.txt", run + "\n")
            self.assertEqual(make_reliability.fill(PAGE), PAGE, run)


if __name__ == "__main__":
    unittest.main()
