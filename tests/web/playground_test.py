"""The playground in a real browser: starts the three processes and hands them to playground_test.mjs.

Usage: playground_test.py FOLDER_OF_BINARIES [FOLDER_FOR_SCREENSHOTS]; run by ctest as `playground_test`. Chromium, Node and
what drives them come from scripts/setup.sh --tests; without them the test is skipped (exit status 77).
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))
from http_stack import ROOT, Stack, key_file

MODULES = ROOT / ".deps" / "browser" / "node_modules"
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome", "chromium-browser")


def main():
    node = shutil.which("node")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    missing = [name for name, there in (("node", node), ("chromium", browser),
                                        ("playwright-core", (MODULES / "playwright-core").is_dir()),
                                        ("axe-core", (MODULES / "axe-core").is_dir())) if not there]
    if missing:
        print(f"skipped: {', '.join(missing)} not installed; scripts/setup.sh --tests installs what it can")
        return 77
    stacks = []
    with tempfile.TemporaryDirectory() as folder:
        keys = pathlib.Path(folder) / "keys.json"
        key_file(keys, right={})
        try:
            for flag in ("--max_inflight=4", f"--api_keys_file={keys}"):
                stacks.append(Stack(sys.argv[1], [flag]))
            environment = dict(os.environ, BROWSER=browser, MODULES=str(MODULES), ROOT=str(ROOT), PORT=str(stacks[0].port),
                               KEYED_PORT=str(stacks[1].port), LANGUAGE_PID=str(stacks[0].processes[1].pid), OPENAI=str(ROOT / ".deps" / "openai"),
                               PYTHON=sys.executable,
                               SCREENSHOTS=str(pathlib.Path(sys.argv[2]).resolve()) if len(sys.argv) > 2 else "")
            return subprocess.run([node, str(ROOT / "tests" / "web" / "playground_test.mjs")], env=environment, timeout=540).returncode
        finally:
            for stack in stacks:
                stack.stop()


if __name__ == "__main__":
    sys.exit(main())
