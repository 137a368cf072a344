"""The units of deploy/systemd/: systemd takes them, they are closed, and the flags that they set exist.

Usage: units_test.py FOLDER_OF_BINARIES; run by ctest as `units_test`.
"""
import ctypes
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import installed

BINARIES = pathlib.Path(sys.argv.pop(1))
SYSTEMD = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "systemd"
UNITS = {"diptych-vision@.service": "vision_service", "diptych-language@.service": "language_service",
         "diptych-gateway.service": "gateway"}
FILES_OF_FLAGS = {"vision.env": "vision_service", "language.env": "language_service", "gateway.env": "gateway",
                  "gateway-keys.conf": "gateway", "gateway-tls.conf": "gateway"}
MOST_EXPOSED = 15  # tenths, of systemd-analyze security; 100 is a unit without any bound
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1


class UnitsTest(unittest.TestCase):
    def test_each_starts_the_program_of_its_name(self):
        self.assertEqual({path.name for path in SYSTEMD.glob("*.service")}, set(UNITS))
        for unit, program in UNITS.items():
            self.assertIn(f"ExecStart=/usr/lib/diptych/bin/{program}\n", (SYSTEMD / unit).read_text())

    def test_every_flag_that_is_set_exists(self):
        for name, program in FILES_OF_FLAGS.items():
            known = set(re.findall(r"--(\w+)", subprocess.run([BINARIES / program, "--help"], capture_output=True, text=True).stdout))
            set_here = re.findall(r"\bDIPTYCH_([A-Z_]+)=", (SYSTEMD / name).read_text().replace("DIPTYCH_NAME=", ""))
            self.assertTrue(set_here, name)
            self.assertEqual({flag.lower() for flag in set_here} - known, set(), name)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is missing")
    def test_systemd_takes_them_with_and_without_the_examples(self):
        with tempfile.TemporaryDirectory() as folder:
            for examples in (False, True):
                units = [self.unit_for_verifying(pathlib.Path(folder), name, examples) for name in UNITS]
                said = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
                ours = [line for line in said.stderr.splitlines() if "diptych" in line]
                self.assertEqual((said.returncode, ours), (0, []), said.stderr)

    @staticmethod
    def unit_for_verifying(folder, name, examples):
        """The unit with a program that exists on this machine, and with the examples of drop-ins written after it."""
        text = (SYSTEMD / name).read_text().replace("/usr/lib/diptych/bin", str(BINARIES.resolve()))
        if examples:
            kind = "gateway-*.conf" if "gateway" in name else "tier-*.conf"
            text += "\n".join(path.read_text() for path in sorted(SYSTEMD.glob(kind)))
        path = folder / name.replace("@.", "@1.")
        path.write_text(text)
        return path

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is missing")
    def test_they_are_closed(self):
        for unit in UNITS:
            path = SYSTEMD / unit
            said = subprocess.run(["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", path],
                                  capture_output=True, text=True)
            if "unrecognized option" in said.stderr:
                self.skipTest("this systemd-analyze judges no files")
            self.assertEqual(said.returncode, 0, said.stdout[-400:] + said.stderr)

    def test_the_gateway_runs_without_memory_that_is_written_and_executed(self):
        """As its unit's MemoryDenyWriteExecute demands."""
        self.assertIn("MemoryDenyWriteExecute=yes", (SYSTEMD / "diptych-gateway.service").read_text())
        prctl = ctypes.CDLL(None).prctl
        if prctl(PR_SET_MDWE + 1, 0, 0, 0, 0) < 0:
            self.skipTest("this kernel has no PR_SET_MDWE")
        process = subprocess.Popen(
            [BINARIES / "gateway", "--listen=127.0.0.1:0", "--http_listen=127.0.0.1:0", "--metrics_listen=", "--language_target=ipv4:127.0.0.1:9"],
            stderr=subprocess.PIPE, text=True, env=installed.BARE, preexec_fn=lambda: prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
        self.assertTrue(any("listening on port" in line for line in process.stderr))
        process.terminate()
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)


if __name__ == "__main__":
    unittest.main()
