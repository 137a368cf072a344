"""scripts/python_packages.sh, with a Python and a uv of the test's own, which write down what they are asked for.

Run by ctest as `python_packages_test`.
"""
import os
import pathlib
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "scripts/python_packages.sh"
# `pip config list` is answered from the file config, and uv's installation is made of the file uv, if there is one.
PYTHON = r"""#!/usr/bin/env bash
case "$*" in
  *"config list") if [ -e config ]; then cat config; fi; exit ;;
esac
echo "pip $*" >>asked
while [ "$1" != --target ]; do shift; done
case "$*" in *uv==*) [ -e uv ] || exit 1; sleep 0.2; mkdir -p "$2/bin"; cp uv "$2/bin/uv"; exit ;; esac
mkdir "$2"
"""
UV = """#!/usr/bin/env bash
echo "uv $*" >>asked
while [ "$1" != --target ]; do shift; done
mkdir "$2"
"""


class PythonPackagesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        (self.root / "tools").mkdir()
        self.python = self.executable("tools/python3", PYTHON)
        self.executable("uv", UV)

    def executable(self, name, text):
        path = self.root / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    def install(self, commands="install_python_packages .deps/one --quiet package==1"):
        """What pip and uv were asked for."""
        environment = {**os.environ, "PATH": f"{self.root / 'tools'}:{os.environ['PATH']}"}
        subprocess.run(["bash", "-euo", "pipefail", "-c", f". {SCRIPT}\n{commands}"], cwd=self.root, env=environment, check=True, timeout=60)
        return (self.root / "asked").read_text(encoding="utf-8").splitlines()

    def test_uv_is_fetched_and_installs_for_the_python_that_is_used(self):
        fetched, installed = self.install()
        self.assertIn("uv==", fetched)
        self.assertRegex(installed, rf"^uv pip install .*--python {self.python} --target .deps/one --quiet package==1$")

    def test_uv_is_fetched_once(self):
        one, two = (f"install_python_packages .deps/{name} package==1" for name in ("one", "two"))
        self.assertEqual(len(self.install(f"{one} & first=$!; {two} & wait $first; wait $!; {one}")), 4)

    def test_where_there_is_no_uv_pip_installs_and_uv_is_asked_for_once(self):
        (self.root / "uv").unlink()
        asked = self.install("for name in one two; do install_python_packages .deps/$name package==1; done")
        self.assertEqual([line.startswith("pip ") and "uv==" in line for line in asked], [True, False, False])

    def test_an_own_index_is_pips_also_where_there_is_uv(self):
        self.install()
        for line in ("global.index-url='https://here'", ":env:.extra-index-url='https://here'", "install.no-index='true'"):
            (self.root / "asked").unlink()
            (self.root / "config").write_text(f"{line}\n" + "global.proxy='x'\n" * 50_000, encoding="utf-8")
            (asked,) = self.install()
            self.assertRegex(asked, "^pip .*package==1$")

    def test_what_uv_fails_at_pip_does_anew(self):
        self.executable("uv", UV + "exit 2\n")
        self.assertEqual([line.split()[0] for line in self.install()], ["pip", "uv", "pip"])


if __name__ == "__main__":
    unittest.main()
