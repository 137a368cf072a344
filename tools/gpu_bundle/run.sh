#!/usr/bin/env bash
# Tests and measures this build on this machine, in about ten minutes on a card; docs/gpu.md explains the report.
#
#   bash run.sh                     on the card, or on the CPU where there is none
#   bash run.sh --device cuda:1     another one; --help shows the rest
#   PYTHON=python3.12 bash run.sh   the Python whose torch is used
#
# Leaves report.md and report.json in out/.
set -euo pipefail
cd "$(dirname "$0")"
if [ ! -e COMMIT ] || [ files.tar.gz -nt COMMIT ]; then
  tar -xzmf files.tar.gz
  touch COMMIT
fi
python=${PYTHON:-python3}

# Asked for without importing it: that would take seconds and may fail where libtorch alone does not.
packages=$("$python" -c 'import importlib.util, pathlib
spec = importlib.util.find_spec("torch")
print(pathlib.Path(spec.origin).parent.parent if spec else "")')
[ -n "$packages" ] || { echo "run.sh: $python has no torch. Name another with PYTHON=…, or: pip install torch==2.11.0" >&2; exit 1; }
libraries=$PWD/build/release/lib:$packages/torch/lib
for folder in "$packages"/nvidia/*/lib; do [ ! -d "$folder" ] || libraries=$libraries:$folder; done
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} DIPTYCH_TEST_ROOT=$PWD
build/release/bin/vision_service --version >/dev/null ||
  { echo "run.sh: the programs do not start with the torch in $packages: they want $(cat TORCH)" >&2; exit 1; }
exec "$python" tools/run.py "$@"
