"""The client's type hints satisfy mypy --strict and pyright, and so does a program that uses it.

Usage: types_test.py FOLDER_OF_THE_PACKAGE; run by ctest as `python_types_test`. Skipped (exit status 77) without mypy.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = pathlib.Path(sys.argv.pop(1)).resolve()
TOOLS = ROOT / ".deps" / "python_types"
PYRIGHT = ROOT / ".deps" / "pyright" / "node_modules" / ".bin" / "pyright"
SETTINGS = ROOT / "python" / "pyproject.toml"
RIGHT = """
import numpy
import diptych

def ask(client: diptych.Client) -> str:
    answer = client.ask(["a.png", b"..."], "What is it?", max_new_tokens=3, stop=["."])
    seconds: float = answer.timings.vit
    for piece in client.stream("a.png", temperature=0.5):
        print(piece.text, seconds)
    attention = client.analyze("a.png").cls_attention
    share: float = float(numpy.max(attention.patches)) if attention else 0.0
    return f"{answer.text} {answer.finish_reason.name} {share}"

async def ask_async(client: diptych.AsyncClient) -> int:
    async with client.stream("a.png") as stream:
        async for piece in stream:
            print(piece.text)
        return (await stream.answer()).usage.total_tokens
"""
WRONG = ['client.ask("a.png", max_tokens=3)', 'client.ask("a.png", max_new_tokens="3")', 'client.ask(3)',
         'client.ask("a.png").timings.vit.seconds']


def mypy(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(TOOLS), "MYPYPATH": str(PACKAGE)}
    return run([sys.executable, "-m", "mypy", "--config-file", SETTINGS, "--cache-dir", PACKAGE.parent / "mypy_cache",
                *arguments], environment)


def run(command, environment):
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


class TypesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.program = pathlib.Path(folder.name) / "program.py"

    def test_mypy_strict(self):
        self.program.write_text(RIGHT)
        for what in (["-p", "diptych"], [str(self.program)]):
            code, said = mypy(*what)
            self.assertEqual(code, 0, said)

    def test_mypy_finds_wrong_calls(self):
        self.program.write_text("import diptych\nclient = diptych.Client()\n" + "\n".join(WRONG) + "\n")
        code, said = mypy(str(self.program))
        self.assertEqual(code, 1, said)
        for line in range(3, 3 + len(WRONG)):
            self.assertIn(f"program.py:{line}: error", said)

    @unittest.skipUnless(PYRIGHT.exists(), "pyright is not installed; scripts/setup.sh --tests fetches it")
    def test_pyright(self):
        self.program.write_text(RIGHT)
        settings = self.program.with_name("pyrightconfig.json")
        settings.write_text(json.dumps({
            "include": [str(PACKAGE / "diptych"), "."], "ignore": ["**/diptych/v1"], "pythonVersion": "3.10",
            "reportMissingImports": "warning",  # of matplotlib, which is not needed
            "extraPaths": [str(PACKAGE), str(TOOLS)]}))
        code, said = run([PYRIGHT, "-p", settings], os.environ)
        self.assertEqual(code, 0, said)


if __name__ == "__main__":
    if not (TOOLS / "mypy").is_dir():
        print("skipped: mypy is not installed; scripts/setup.sh --tests fetches it")
        sys.exit(77)
    unittest.main()
