"""Writes a model with rounded weights and serves it with both tiers, as a user would.

Usage: quantize_test.py BINARY_FOLDER; run by ctest as `quantize_test`.
"""
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARIES = pathlib.Path(sys.argv[1]).resolve()
DEMO = str(ROOT / "models" / "demo")


def quantize(*arguments):
    return subprocess.run([BINARIES / "diptych", "quantize", *arguments], text=True, capture_output=True, timeout=60)


class QuantizeTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = str(pathlib.Path(folder.name) / "demo-rounded")

    def test_both_tiers_serve_what_is_written(self):
        for dtype in ("int8", "int4"):
            out = f"{self.out}-{dtype}"
            done = quantize(DEMO, out, "--dtype", dtype)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(f"diptych serve {out}", done.stderr)
            config = json.loads((pathlib.Path(out) / "config.json").read_text(encoding="utf-8"))
            self.assertEqual(config["quantization_config"]["bits"], int(dtype[-1]))
            for tier in ("vision_service", "language_service"):
                process = subprocess.Popen([BINARIES / tier, f"--model={out}", "--listen=127.0.0.1:0", "--metrics_listen="],
                                           text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.assertIn(f" dtype={dtype}", process.stdout.readline())
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)
                self.assertEqual(process.returncode, 0)

    def test_refuses_what_it_cannot_do_in_one_line(self):
        self.assertEqual(quantize(DEMO, self.out, "--dtype", "int3").returncode, 2)
        self.assertEqual(quantize(DEMO).returncode, 2)
        absent = quantize(str(ROOT / "no_model"), self.out)
        self.assertEqual(absent.returncode, 1)
        self.assertFalse(pathlib.Path(self.out).exists())
        pathlib.Path(self.out).mkdir()
        taken = quantize(DEMO, self.out)
        self.assertEqual(taken.returncode, 1)
        self.assertIn("exists already", taken.stderr)

    def left(self):
        return sorted(path.name for path in pathlib.Path(self.out).parent.iterdir())

    def test_one_that_is_stopped_leaves_nothing_behind(self):
        for stop, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            while True:  # until it is met while it writes
                process = subprocess.Popen([BINARIES / "diptych", "quantize", DEMO, self.out], stderr=subprocess.PIPE)
                while process.poll() is None and not self.left():
                    pass
                process.send_signal(stop)
                process.communicate(timeout=60)
                if process.returncode != 0:
                    break
                shutil.rmtree(self.out)
            self.assertEqual((process.returncode, self.left()), (code, []))

    def test_what_a_killed_one_has_left_is_removed_by_the_next(self):
        ended = subprocess.Popen(["true"])
        ended.wait()
        for process in (ended.pid, 1):
            pathlib.Path(f"{self.out}.unfinished-{process}").mkdir()
        self.assertEqual(quantize(DEMO, f"{self.out}/").returncode, 0)
        self.assertEqual(self.left(), ["demo-rounded", "demo-rounded.unfinished-1"])

    def test_a_rounded_model_has_one_dtype(self):
        self.assertEqual(quantize(DEMO, self.out).returncode, 0)
        refused = subprocess.run([BINARIES / "vision_service", f"--model={self.out}", "--listen=127.0.0.1:0", "--dtype=bf16",
                                  "--log_level=error"], text=True, capture_output=True, timeout=60)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("--dtype int8", refused.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
