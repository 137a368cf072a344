#!/usr/bin/env bash
# Runs every command of docs/notebook.md and every cell of docs/notebook.ipynb against the bundled model, and writes what they
# print and draw into the two.
set -euo pipefail
cd "$(dirname "$0")/.."
script=notebook
. scripts/say.sh
stack_name=notebook
. scripts/stack.sh

command -v gnuplot >/dev/null || stack_fail "gnuplot is missing; scripts/setup.sh --tests installs it"
trap stack_down EXIT
trap 'exit 130' INT TERM
stack_up
mkdir -p docs/images/notebook
DIPTYCH_SERVER=$GATEWAY PATH=$PWD/$stack_bin:$PATH python3 tools/make_notebook_page.py
PYTHONPATH=$PWD/build/release/python:$PWD/.deps/python_newest:$PWD/.deps/notebook DIPTYCH_SERVER=$GATEWAY \
  python3 tools/run_notebook.py docs/notebook.ipynb
stack_say "docs/notebook.md and docs/notebook.ipynb hold the output of $(date -u +%F)"
