"""Prometheus' own judge of rules, configurations and pages of metrics."""
import pathlib
import shutil
import subprocess

_UNPACKED = pathlib.Path(__file__).resolve().parents[2] / ".deps" / "system" / "usr" / "bin" / "promtool"
PROGRAM = str(_UNPACKED) if _UNPACKED.exists() else shutil.which("promtool")
MISSING = "promtool is missing; scripts/setup.sh --tests fetches it"


def complaints(*arguments, stdin=None):
    """What `promtool ARGUMENTS` has against what it is given; empty if nothing."""
    done = subprocess.run([PROGRAM, *arguments], input=stdin, text=True, capture_output=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""
