"""What the bundle's runner makes of steps that pass, fail and cannot run: tools/gpu_bundle/run.py with programs of the test's own."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = "| batch | ms a step |\n|---|---|\n| 1 | 2.5 |\n| 8 | 4.0 |\n"
PROGRAMS = ("bin/vision_service", "bin/decode_throughput", "bin/vision_times", "bin/two_tiers", "tests/gpu_test", "tests/cuda_kernels_test", "tests/blip2_test",
            "tests/language_engine_test")


class RunTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.folder / "tools").mkdir()
        shutil.copy(ROOT / "tools/gpu_bundle/run.py", self.folder / "tools")
        (self.folder / "COMMIT").write_text("0123456789ab\n")
        # A checkpoint of no size, and a comparison that finds nothing to say.
        (self.folder / "tools/make_full_size_checkpoint.py").write_text(
            "import pathlib, sys\nfolder = pathlib.Path(sys.argv[1])\nfolder.mkdir(parents=True)\n(folder / 'model.safetensors').touch()\n")
        (self.folder / "tools/compare.py").write_text("")
        for program in PROGRAMS:
            self.write(program, f"echo '{TABLE}'")
        # No nvidia-smi, whatever this machine has.
        self.environment = os.environ | {"PATH": "/usr/bin:/bin" if not shutil.which("nvidia-smi", path="/usr/bin:/bin") else ""}

    def write(self, program, script):
        path = self.folder / "build/release" / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run_bundle(self, *arguments):
        done = subprocess.run([sys.executable, "tools/run.py", *arguments], cwd=self.folder, env=self.environment,
                              capture_output=True, text=True, timeout=120)
        report = json.loads((self.folder / "out/report.json").read_text())
        return done, report, {step["name"]: step for step in report["steps"]}

    def test_without_a_card_it_runs_on_the_cpu_and_says_so(self):
        done, report, steps = self.run_bundle()
        self.assertEqual((report["device"], report["card"], report["layers"], report["commit"]), ("cpu", None, 1, "0123456789ab"))
        self.assertIn("none", (self.folder / "out/report.md").read_text())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_tables_become_figures(self):
        _, _, steps = self.run_bundle("--only", "Decoder", "Engine tests")
        self.assertEqual(set(steps), {"Decoder", "Engine tests"})
        self.assertEqual(steps["Engine tests"]["figures"], [[{"batch": "1", "ms a step": "2.5"}, {"batch": "8", "ms a step": "4.0"}]])
        self.assertEqual((steps["Decoder"]["status"], steps["Decoder"]["output"]), ("skipped", "there is no checkpoint"))

    def test_progress_that_is_written_over_leaves_its_last_state(self):
        self.write("tests/language_engine_test", r"printf '1 %%\r50 %%\r100 %%\ndone\n'")
        _, _, steps = self.run_bundle("--only", "Engine tests")
        self.assertEqual(steps["Engine tests"]["output"], "100 %\ndone")

    def test_a_step_that_fails_leaves_the_others_and_the_exit_status_tells(self):
        self.write("tests/language_engine_test", "echo before; echo 'it broke' >&2; exit 3")
        (self.folder / "build/release/bin/vision_times").unlink()
        done, _, steps = self.run_bundle()
        self.assertEqual(done.returncode, 1)
        self.assertEqual(steps["Engine tests"]["status"], "failed")
        self.assertIn("before", steps["Engine tests"]["output"])
        self.assertIn("it broke", steps["Engine tests"]["output"])
        if steps["Checkpoint"]["status"] == "passed":
            self.assertEqual(steps["Vision transformer"]["status"], "failed")
            self.assertEqual(steps["Decoder"]["status"], "passed")

    def test_packages_that_pythonpath_names_are_found_by_the_steps(self):
        (self.folder / "tools/make_full_size_checkpoint.py").write_text("import only_there\n")
        (self.folder / "packages/numpy-2.0.dist-info").mkdir(parents=True)
        (self.folder / "packages/numpy-2.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 2.0\n")
        (self.folder / "packages/only_there.py").touch()
        self.environment["PYTHONPATH"] = str(self.folder / "packages")
        _, _, steps = self.run_bundle("--only", "Checkpoint")
        self.assertEqual(steps["Checkpoint"]["status"], "passed", steps["Checkpoint"]["output"])

    def test_a_card_that_is_asked_for_is_used(self):
        _, report, steps = self.run_bundle("--device", "cuda:1", "--only", "Checkpoint", "Decoder")
        self.assertEqual((report["device"], report["layers"]), ("cuda:1", 0))
        self.assertIn("--device cuda:1", steps["Checkpoint"]["command"])

    def test_weights_of_8_and_4_bits_alone_are_for_a_card(self):
        names = ["Decoder in int8", "Decoder in int4"]
        _, _, steps = self.run_bundle("--only", "Checkpoint", *names)
        self.assertEqual([steps[name]["status"] for name in names], ["skipped", "skipped"])
        _, _, steps = self.run_bundle("--device", "cuda:1", "--only", "Checkpoint", *names)
        for name, word in zip(names, ("int8", "int4")):
            self.assertIn(f"--dtype={word}", steps[name]["command"])

    def test_only_a_card_that_multiplies_floats_of_8_bits_is_asked_to(self):
        for capability, status in (("9.0", "passed"), ("8.9", "passed"), ("8.0", "skipped"), ("[N/A]", "skipped")):
            with self.subTest(capability=capability):
                (self.folder / "nvidia").mkdir(exist_ok=True)
                smi = self.folder / "nvidia/nvidia-smi"
                smi.write_text(f"#!/bin/sh\ncase \"$*\" in *--id=1*compute_cap*) echo '{capability}' ;; *) echo card ;; esac\n")
                smi.chmod(0o755)
                self.environment["PATH"] = f"{smi.parent}:/usr/bin:/bin"
                (self.folder / "packages/numpy-2.0.dist-info").mkdir(parents=True, exist_ok=True)
                (self.folder / "packages/numpy-2.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 2.0\n")
                self.environment["PYTHONPATH"] = str(self.folder / "packages")
                shutil.rmtree(self.folder / "out", ignore_errors=True)
                _, _, steps = self.run_bundle("--device", "cuda:1", "--only", "Checkpoint", "Decoder in fp8", "Vision transformer in fp8")
                self.assertEqual([step["status"] for step in steps.values()], ["passed", status, status])
                self.assertIn("--dtype=fp8", steps["Decoder in fp8"]["command"])


if __name__ == "__main__":
    unittest.main()
