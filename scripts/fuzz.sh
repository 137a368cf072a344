#!/usr/bin/env bash
# Builds the fuzz targets with Clang and runs each for FUZZ_SECONDS (default 60), starting from its corpus.
# What it finds is written to build/fuzz/findings/.
set -euo pipefail
cd "$(dirname "$0")/.."
script=fuzz
. scripts/say.sh

command -v clang++ >/dev/null || fail "clang++ is missing; as root run:  apt-get install -y clang libclang-rt-14-dev"

mapfile -t targets < <(sed -nE 's/^diptych_fuzz_target\(NAME ([a-z0-9_]+).*/\1/p' tests/fuzz/CMakeLists.txt)
scripts/build.sh fuzz "${targets[@]/#/fuzz_}"
mkdir -p build/fuzz/findings
for target in "${targets[@]}"; do
  mkdir -p "build/fuzz/corpus/$target"
  printf '\033[1m[fuzz]\033[0m %s for %s s\n' "$target" "${FUZZ_SECONDS:-60}"
  "build/fuzz/bin/fuzz_$target" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=30 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/findings/$target-" "build/fuzz/corpus/$target" "tests/fuzz/corpus/$target" ||
    fail "$target found something: the input is in build/fuzz/findings/"
done
