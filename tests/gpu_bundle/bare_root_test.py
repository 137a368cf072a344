"""Runs the bundle of scripts/gpu_bundle.sh where nothing of ours is: a bare Debian with Python, the wheel of torch and numpy, on the CPU.

Usage, as root: bare_root_test.py [STEP…], some minutes for all steps. The report stays in build/gpu_bundle/out/.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "packages"))

from package_test import ROOTS, BareRoot, in_a_namespace  # noqa: E402

BUNDLE = ROOT / "build" / "gpu_bundle"
LIMIT = 60 << 20  # what travels
NEED_A_CARD = {"CUDA tests", "Decoder in fp8", "Decoder in int8", "Decoder in int4", "CUDA graphs", "Vision transformer in fp8", "Vision CUDA graphs"}
NEED_TRANSFORMERS = {"Parity", "Transformers"}


def torch_folder():
    """As the bundle was made against."""
    version = subprocess.run(["tar", "-xzOf", BUNDLE / "files.tar.gz", "./TORCH"], capture_output=True, text=True, check=True).stdout.split()[1]
    return ROOT / ".deps" / f"torch_{'_'.join(version.split('.')[:2])}"


class BareRootTest(unittest.TestCase):
    steps = []

    def setUp(self):
        self.root = BareRoot("bookworm")
        self.addCleanup(self.root.remove)
        packages = self.root.path / "packages"
        packages.mkdir()
        for folder in (torch_folder() / "torch", torch_folder() / "nvidia", *torch_folder().glob("torch-*.dist-info")):
            (packages / folder.name).mkdir()
            self.root.mount("--bind", folder.resolve(), packages / folder.name)
        for wheel in (ROOTS / "wheels-3.11").glob("numpy-*.whl"):
            zipfile.ZipFile(wheel).extractall(packages)
        bundle = self.root.path / "bundle"
        shutil.copytree(BUNDLE, bundle, ignore=shutil.ignore_patterns("out"))
        self.root.run("chown", "-R", "nobody:nogroup", "/bundle", user="root:root")

    def test_it_runs_from_its_first_line_to_its_report(self):
        self.assertLessEqual(sum(file.stat().st_size for file in BUNDLE.iterdir() if file.is_file()), LIMIT)
        only = ["--only", *self.steps] if self.steps else []
        done = subprocess.run(self.root.command("PYTHONPATH=/packages", "bash", "/bundle/run.sh", *only), cwd="/", text=True, capture_output=True, check=False)
        out = self.root.path / "bundle" / "out"
        self.assertTrue((out / "report.json").exists(), done.stdout + done.stderr)
        shutil.rmtree(BUNDLE / "out", ignore_errors=True)
        shutil.copytree(out, BUNDLE / "out", ignore=shutil.ignore_patterns("full_size"))
        report = json.loads((out / "report.json").read_text())
        self.assertEqual((report["device"], report["card"], report["layers"]), ("cpu", None, 1))
        for step in report["steps"]:
            with self.subTest(step=step["name"]):
                expected = "skipped" if step["name"] in NEED_A_CARD | NEED_TRANSFORMERS else "passed"
                self.assertEqual(step["status"], expected, step["output"][-3000:])
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    if not (BUNDLE / "files.tar.gz").exists() or not (ROOTS / "bookworm").exists():
        print("skipped: scripts/gpu_bundle.sh makes the bundle, scripts/setup.sh --packages the bare root")
        sys.exit(77)
    in_a_namespace()
    BareRootTest.steps = sys.argv[1:]
    unittest.main(argv=sys.argv[:1])
