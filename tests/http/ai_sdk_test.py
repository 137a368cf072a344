"""The Vercel AI SDK as a judge of the HTTP surface.

Usage: ai_sdk_test.py FOLDER_OF_BINARIES; run by ctest as `ai_sdk_test`. Needs Node and the packages in .deps/ai_sdk
(scripts/setup.sh --tests); without them the test is skipped (exit status 77).
"""
import os
import pathlib
import shutil
import subprocess
import sys

from http_stack import ROOT, SAMPLE, Stack

MODULES = ROOT / ".deps" / "ai_sdk" / "node_modules"
node = shutil.which("node")
if node is None or not (MODULES / "ai").is_dir():
    print("skipped: node or the AI SDK is not installed; scripts/setup.sh --tests installs them")
    sys.exit(77)

stack = Stack(sys.argv[1])
try:
    test = pathlib.Path(__file__).with_suffix(".mjs")
    ended = subprocess.run([node, "--test", test], timeout=200,
                           env=dict(os.environ, MODULES=str(MODULES), PORT=str(stack.port), IMAGE=str(SAMPLE)))
finally:
    stack.stop()
sys.exit(ended.returncode)
