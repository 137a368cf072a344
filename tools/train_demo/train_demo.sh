#!/usr/bin/env bash
# Trains the demo model from nothing, exports it, draws its sample pictures and measures it on held-out scenes:
#
#     tools/train_demo/train_demo.sh [CHECKPOINT_DIR]        # default: build/train_demo/checkpoint
#
# PYTHON: an interpreter that has requirements.txt; without it a virtual environment is made in build/train_demo.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(cd "$here/../.." && pwd)/build/train_demo
checkpoint=${1:-$work/checkpoint}
mkdir -p "$work"

if [[ -z ${PYTHON:-} ]]; then
  [[ -x $work/venv/bin/python ]] || python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet -r "$here/requirements.txt"
  PYTHON=$work/venv/bin/python
fi

"$PYTHON" "$here/train.py" --out "$work/run"
"$PYTHON" "$here/checkpoint.py" --run "$work/run" --out "$checkpoint"
"$PYTHON" "$here/evaluate.py" --checkpoint "$checkpoint" --scenes 1000 --kinds-per-scene 6 --out "$checkpoint/results.json"
"$PYTHON" "$here/make_samples.py" --checkpoint "$checkpoint"
