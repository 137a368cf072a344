#!/usr/bin/env bash
# Builds the fuzz targets with Clang and runs each, or those that are named, for FUZZ_SECONDS (default 60), beginning
# with its corpus:  scripts/fuzz.sh [target …]
# What it learns stays in build/fuzz/corpus/, what it finds in build/fuzz/findings/, and what each run came to in
# build/fuzz/runs.txt: target, seconds of a processor, inputs tried, edges seen. The end is a table.
set -euo pipefail
cd "$(dirname "$0")/.."
script=fuzz
. scripts/say.sh

command -v clang++ >/dev/null || fail "clang++ is missing; as root run:  apt-get install -y clang libclang-rt-14-dev"

mapfile -t all < <(sed -nE 's/^diptych_fuzz_target\(NAME ([a-z0-9_]+).*/\1/p' tests/fuzz/CMakeLists.txt)
targets=("${@:-${all[@]}}")
scripts/build.sh fuzz "${targets[@]/#/fuzz_}"
mkdir -p build/fuzz/{corpus,findings,logs}

# The targets that write files; what they write is small.
[ -d /dev/shm ] && export TMPDIR=/dev/shm
# A fault ends the run; without this the sanitizer of undefined behaviour would only print it.
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

# Besides the corpus that is committed for it.
more_inputs() {
  case $1 in
    image) echo tests/data/images ;;
  esac
}

# Inputs longer than this find nothing that shorter ones do not, and each run is slower.
longest() {
  case $1 in
    headers | data_url) echo 1024 ;;
    *) echo 16384 ;;
  esac
}

# shellcheck disable=SC2046  # no word where there are no more inputs
run() {
  mkdir -p "build/fuzz/corpus/$1"
  local TIMEFORMAT='%U %S' log=build/fuzz/logs/$1.log result=0
  { time "build/fuzz/bin/fuzz_$1" -max_total_time="${FUZZ_SECONDS:-60}" -max_len="$(longest "$1")" -timeout=20 \
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$1-" \
    "build/fuzz/corpus/$1" "tests/fuzz/corpus/$1" $(more_inputs "$1") >"$log" 2>&1; } 2>"$log.time" || result=1
  echo "$1 $(awk '{ print $1 + $2 }' "$log.time") $(inputs "$log") $(edges "$log")" >>build/fuzz/runs.txt
  return $result
}

# What the fuzzer said last of the inputs that it tried, and of the edges that it has seen.
inputs() { sed -nE 's/^stat::number_of_executed_units: *//p' "$1"; }
edges() { sed -nE 's/^#[0-9]+.* cov: ([0-9]+).*/\1/p' "$1" | tail -1; }

row() { printf '%-14s %14s %9s  %s\n' "$1" "$(inputs "build/fuzz/logs/$1.log")" "$(edges "build/fuzz/logs/$1.log")" "$2"; }

found=0
rows=$(printf '%-14s %14s %9s  %s\n' target executions edges findings)
for target in "${targets[@]}"; do
  say "$target for ${FUZZ_SECONDS:-60} s"
  result=none
  run "$target" || { result="build/fuzz/logs/$target.log" && found=1; }
  rows+=$'\n'$(row "$target" "$result")
done
printf '%s\n' "$rows"
[ "$found" = 0 ] || fail "the inputs are in build/fuzz/findings/; add each to tests/fuzz/corpus/TARGET/ with its mending"
