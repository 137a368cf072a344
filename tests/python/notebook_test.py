"""docs/notebook.ipynb runs, and prints what it shows; only cells with the tag `times` may print something else.

Usage: notebook_test.py FOLDER_OF_BINARIES FOLDER_OF_THE_PACKAGE; run by ctest as `notebook_test`. Skipped (exit status 77) without
nbclient.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import client_environment

BINARIES, PACKAGE = sys.argv[1:3]
del sys.argv[1:3]
client_environment.enter(PACKAGE, "python_newest")
from http_stack import ROOT, Stack  # noqa: E402

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
TOOLS = ROOT / ".deps" / "notebook"
MOST_BYTES = 400_000


def printed(cell):
    return "".join("".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream" and output["name"] == "stdout")


def drawings(cell):
    return sum("image/jpeg" in output.get("data", {}) for output in cell["outputs"])


def code_cells(path):
    return [cell for cell in json.loads(pathlib.Path(path).read_text())["cells"] if cell["cell_type"] == "code"]


class NotebookTest(unittest.TestCase):
    def test_it_prints_and_draws_what_it_shows(self):
        stack = Stack(BINARIES)
        try:
            with tempfile.TemporaryDirectory() as folder:
                output = pathlib.Path(folder) / "run.ipynb"
                environment = {**os.environ, "DIPTYCH_SERVER": f"127.0.0.1:{stack.grpc_port}", "MPLCONFIGDIR": folder,
                               "IPYTHONDIR": folder, "JUPYTER_RUNTIME_DIR": folder,
                               "PYTHONPATH": os.pathsep.join([str(pathlib.Path(PACKAGE).resolve()), str(ROOT / ".deps" / "python_newest"), str(TOOLS)])}
                done = subprocess.run([sys.executable, ROOT / "tools" / "run_notebook.py", NOTEBOOK, output], env=environment,
                                      capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)
                now = code_cells(output)
        finally:
            stack.stop()
        shown = code_cells(NOTEBOOK)
        self.assertEqual(len(now), len(shown))
        for before, after in zip(shown, now):
            source = "".join(before["source"])
            self.assertEqual(drawings(before), drawings(after), source)
            if "times" not in before["metadata"].get("tags", ()):
                self.assertEqual(printed(before), printed(after), source)

    def test_it_is_small_and_free_of_errors(self):
        self.assertLess(NOTEBOOK.stat().st_size, MOST_BYTES)
        cells = code_cells(NOTEBOOK)
        self.assertGreater(sum(map(drawings, cells)), 8)
        for cell in cells:
            self.assertTrue(cell["outputs"] or not printed(cell), "".join(cell["source"]))
            self.assertFalse([output for output in cell["outputs"] if output["output_type"] == "error"
                              or output.get("name") == "stderr"], "".join(cell["source"]))


if __name__ == "__main__":
    if not (TOOLS / "nbclient").is_dir():
        print("skipped: nbclient is not installed; scripts/setup.sh --tests fetches it")
        sys.exit(77)
    unittest.main()
