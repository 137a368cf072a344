#!/bin/bash
# Runs the whole fault suite with the seeds given, or with three; each row's last figures are in build/faults/.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build/faults
for seed in "${@:-1 2 3}"; do
  for number in $seed; do
    python3 tests/faults/faults_test.py build/release/bin --whole --seed="$number" | tee "build/faults/seed_$number.txt"
  done
done
