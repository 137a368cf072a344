#!/bin/bash
# Runs the whole suites of faults with the seeds given, or with three; each row's last figures are in build/faults/.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build/faults
for seed in "${@:-1 2 3}"; do
  for number in $seed; do
    for suite in faults machine_faults caller_faults foreign_clients; do
      python3 "tests/faults/${suite}_test.py" build/release/bin --whole --seed="$number" || [ $? = 77 ]
    done | tee "build/faults/seed_$number.txt"
    echo "seed $number passed" | tee -a "build/faults/seed_$number.txt"
  done
done
