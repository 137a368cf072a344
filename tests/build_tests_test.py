"""scripts/build_tests.sh, with scripts of the test's own in the place of those that compile and fetch.

Run by ctest as `build_tests_test`.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[1] / "scripts"
WAIT = 'for name; do until [ -e "$name" ]; do sleep 0.02; done; done'


class BuildTestsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        (self.root / "scripts").mkdir()
        for name in ("build_tests.sh", "say.sh"):
            shutil.copy(SCRIPTS / name, self.root / "scripts")
        self.script("wait_for", WAIT)
        self.script("build.sh", "touch compiled")
        self.script("examples.sh", "touch clients")
        self.setup()

    def script(self, name, text):
        path = self.root / "scripts" / name
        path.write_text(f"#!/usr/bin/env bash\nset -e\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def setup(self, fetch="touch fetched", first="touch installed"):
        self.script("setup.sh", f'case ${{1:-}} in "") {first} ;; --tests) {fetch} ;; esac')

    def start(self):
        return subprocess.Popen([self.root / "scripts/build_tests.sh"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self, process):
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def there(self, *names):
        return all((self.root / name).exists() for name in names)

    def test_fetches_while_it_compiles(self):
        self.setup(fetch="touch fetching; scripts/wait_for compiling; touch fetched")
        self.script("build.sh", "touch compiling; scripts/wait_for fetching fetched; touch compiled")
        status, output = self.finish(self.start())
        self.assertEqual(status, 0, output)
        self.assertTrue(self.there("compiled", "fetched", "clients"))

    def test_compiles_only_with_what_compiling_needs(self):
        self.setup(first="exit 3")
        self.assertEqual(self.finish(self.start())[0], 3)
        self.assertFalse(self.there("compiled") or self.there("fetched"))

    def test_what_was_fetched_is_told_after_what_was_compiled(self):
        self.setup(fetch="echo 'one could not be fetched'; touch told")
        self.script("build.sh", "echo first; scripts/wait_for told; echo second")
        _, output = self.finish(self.start())
        self.assertLess(output.index("second"), output.index("one could not be fetched"))

    def test_fetching_that_fails_is_told_and_fails(self):
        self.setup(fetch="echo 'no network' >&2; exit 4")
        status, output = self.finish(self.start())
        self.assertEqual(status, 4)
        self.assertIn("no network", output)
        self.assertFalse(self.there("clients"))

    def test_nothing_is_fetched_after_compiling_has_failed(self):
        self.setup(fetch="echo $$ >fetching; scripts/wait_for never")
        self.script("build.sh", "scripts/wait_for fetching; exit 5")
        self.assertEqual(self.finish(self.start())[0], 5)
        self.assert_gone()

    def test_whoever_ends_it_ends_what_it_has_begun(self):
        for how in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(how.name):
                for name in ("ready", "compiled"):
                    (self.root / name).unlink(missing_ok=True)
                self.setup(fetch="echo $$ >fetching; touch ready; scripts/wait_for never")
                self.script("build.sh", "scripts/wait_for ready; touch compiled; exec sleep 1000")
                process = subprocess.Popen([self.root / "scripts/build_tests.sh"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                           text=True, start_new_session=True)
                subprocess.run([self.root / "scripts/wait_for", "compiled"], cwd=self.root, check=True, timeout=60)
                os.killpg(process.pid, how)  # as a terminal does
                self.assertNotEqual(self.finish(process)[0], 0)
                self.assert_gone()

    def assert_gone(self):
        pid = (self.root / "fetching").read_text(encoding="utf-8").strip()
        deadline = 30 * 50
        while pathlib.Path("/proc", pid).exists() and deadline:
            deadline -= 1
            subprocess.run(["sleep", "0.02"], check=True)
        self.assertFalse(pathlib.Path("/proc", pid).exists(), "it goes on fetching")


if __name__ == "__main__":
    unittest.main()
