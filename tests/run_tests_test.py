"""scripts/run_tests.sh, with scripts of the test's own in the place of those that compile, fetch and test.

Run by ctest as `run_tests_test`.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

TESTS = pathlib.Path(__file__).resolve().parent
SCRIPTS = TESTS.parent / "scripts"
WAIT = 'for name; do until [ -e "$name" ]; do sleep 0.02; done; done'


class RunTestsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for name in ("scripts", "tools"):
            (self.root / name).mkdir()
        self.environment = {**os.environ, "PATH": f"{self.root / 'tools'}:{os.environ['PATH']}"}
        for name in ("run_tests.sh", "say.sh"):
            shutil.copy(SCRIPTS / name, self.root / "scripts")
        self.script("wait_for", WAIT)
        self.compiles("touch compiled")
        self.script("examples.sh", "touch clients")
        self.script("skipped.sh", "touch listed")
        self.runs("touch tested")
        self.setup()

    def script(self, name, text):
        self.executable(self.root / "scripts" / name, text)

    def executable(self, path, text):
        path.write_text(f"#!/usr/bin/env bash\nset -e\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def setup(self, fetch="touch fetched", first="touch installed"):
        self.script("setup.sh", f'case ${{1:-}} in "") {first} ;; --tests) {fetch} ;; esac')

    def compiles(self, programs, tests="touch tests_compiled"):
        self.script("build.sh", f'if [ "${{2:-}}" ]; then {programs}; else {tests}; fi')

    def runs(self, text):
        self.executable(self.root / "tools/ctest", text)

    def start(self, *arguments, **options):
        return subprocess.Popen([self.root / "scripts/run_tests.sh", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env=self.environment, **options)

    def finish(self, process):
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def there(self, *names):
        return all((self.root / name).exists() for name in names)

    def test_fetches_while_it_compiles(self):
        self.setup(fetch="touch fetching; scripts/wait_for compiling; touch fetched")
        self.compiles("touch compiling; scripts/wait_for fetching fetched; touch compiled")
        status, output = self.finish(self.start())
        self.assertEqual(status, 0, output)
        self.assertTrue(self.there("compiled", "fetched", "clients"))

    def test_compiles_only_with_what_compiling_needs(self):
        self.setup(first="exit 3")
        self.assertEqual(self.finish(self.start())[0], 3)
        self.assertFalse(self.there("compiled") or self.there("fetched"))

    def test_what_was_fetched_is_told_after_what_was_compiled(self):
        self.setup(fetch="echo 'one could not be fetched'; touch told")
        self.compiles("echo first; scripts/wait_for told; echo second")
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
        self.compiles("scripts/wait_for fetching; exit 5")
        self.assertEqual(self.finish(self.start())[0], 5)
        self.assert_gone()

    def test_whoever_ends_it_ends_what_it_has_begun(self):
        for how in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(how.name):
                for name in ("ready", "compiled"):
                    (self.root / name).unlink(missing_ok=True)
                self.setup(fetch="echo $$ >fetching; touch ready; scripts/wait_for never")
                # One process to the end: a shell forgets a SIGINT that comes while it waits for what ends well.
                self.compiles("scripts/wait_for ready; exec python3 -c 'import time; open(\"compiled\", \"w\"); time.sleep(1000)'")
                process = self.start(start_new_session=True)
                subprocess.run([self.root / "scripts/wait_for", "compiled"], cwd=self.root, check=True, timeout=60)
                os.killpg(process.pid, how)  # as a terminal does
                self.assertNotEqual(self.finish(process)[0], 0)
                self.assert_gone()

    def test_tests_while_tests_compile_and_waits_for_those(self):
        self.compiles("touch compiled", "touch compiling; scripts/wait_for tested; touch tests_compiled")
        self.runs("scripts/wait_for compiled compiling fetched clients; touch tested\n"
                   f"{TESTS}/wait_until_compiled.sh build/release\n[ -e tests_compiled ]")
        status, output = self.finish(self.start())
        self.assertEqual(status, 0, output)
        self.assertTrue(self.there("tested", "listed"))

    def test_its_arguments_are_those_of_the_tests(self):
        self.runs('echo "$@"')
        self.assertIn("-R name --repeat until-pass:2\n", self.finish(self.start("-R", "name", "--repeat", "until-pass:2"))[1])

    def test_tests_that_fail_are_its_status(self):
        self.runs("exit 8")
        self.assertEqual(self.finish(self.start())[0], 8)
        self.assertTrue(self.there("listed"))

    def test_tests_that_do_not_compile_are_told_and_fail(self):
        self.compiles("touch compiled", "echo 'no such header'; exit 5")
        self.runs(f"if {TESTS}/wait_until_compiled.sh build/release; then touch taken_for_compiled; fi")
        status, output = self.finish(self.start())
        self.assertEqual(status, 1)
        self.assertIn("no such header", output)
        self.assertFalse(self.there("taken_for_compiled"))

    def test_nothing_is_waited_for_by_later_runs(self):
        self.compiles("touch compiled", "exit 5")
        self.finish(self.start())
        subprocess.run([TESTS / "wait_until_compiled.sh", self.root / "build/release"], check=True, timeout=60)

    def test_whoever_ends_the_tests_ends_what_compiles(self):
        self.compiles("touch compiled", "echo $$ >compiling; scripts/wait_for never")
        self.runs("scripts/wait_for compiling; : >testing; exec sleep 1000")  # no child, for whose end bash would put off the signal
        process = self.start(start_new_session=True)
        subprocess.run([self.root / "scripts/wait_for", "testing"], cwd=self.root, check=True, timeout=60)
        os.killpg(process.pid, signal.SIGINT)
        self.assertNotEqual(self.finish(process)[0], 0)
        self.assert_gone("compiling")

    def assert_gone(self, name="fetching"):
        pid = (self.root / name).read_text(encoding="utf-8").strip()
        deadline = 30 * 50
        while pathlib.Path("/proc", pid).exists() and deadline:
            deadline -= 1
            subprocess.run(["sleep", "0.02"], check=True)
        self.assertFalse(pathlib.Path("/proc", pid).exists(), f"it goes on {name}")


if __name__ == "__main__":
    unittest.main()
