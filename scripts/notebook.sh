#!/usr/bin/env bash
# Runs every command of docs/notebook.md against the bundled model and writes what it prints, and the charts, into the page.
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
stack_say "docs/notebook.md holds the output of $(date -u +%F)"
