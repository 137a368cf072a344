"""Runs the commands of docs/notebook.md and puts their real output into the page.

Each ```console block of the page holds lines that begin with "$ ", each followed by what the command printed. Everything but
those lines is replaced. scripts/notebook.sh starts the servers and calls this.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "notebook.md"
BLOCK = re.compile(r"^```console\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def output_of(command):
    """What the command prints, standard error where it would appear on a terminal."""
    run = subprocess.run(["bash", "-c", command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode != 0:
        sys.exit(f"{command}\n{run.stdout}\nended with exit code {run.returncode}")
    return ESCAPES.sub("", run.stdout).rstrip("\n")


def filled(match):
    """The block with each command followed by its output of now."""
    parts = []
    for line in match.group(1).splitlines():
        if line.startswith("$ "):
            print(line, flush=True)
            output = output_of(line[2:])
            parts.append(line + ("\n" + output if output else ""))
    return "```console\n" + "\n\n".join(parts) + "\n```\n"


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(filled, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
