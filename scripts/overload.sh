#!/bin/bash
# Runs the whole suites of load; what they measured is in build/load/.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build/load
python3 tests/load/overload_test.py build/release/bin --seconds=20 | tee build/load/overload.txt
python3 tests/load/at_once_test.py build/release/bin --callers=2000 | tee build/load/at_once.txt
