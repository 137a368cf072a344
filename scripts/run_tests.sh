#!/usr/bin/env bash
# What `make test` does: installs, builds, runs every test that needs no GPU. Arguments go to ctest.
#
# Most tests wait and compilers do not, so both share the cores: what only tests use is fetched while the programs compile, and the
# tests of the programs run while those in C++ compile, for which ctest waits in tests_are_compiled.
# shellcheck disable=SC2317  # functions are called by name, through `beside` and traps
set -euo pipefail
cd "$(dirname "$0")/.."
script='test'
. scripts/say.sh
compiling=build/release/compiling_tests  # a lock while the tests in C++ compile, then whether that succeeded
groups=()

fetch_and_build_clients() {
  scripts/setup.sh --tests
  scripts/examples.sh --build
}

compile_tests() {
  local status=0
  CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) nice scripts/build.sh release || status=$?
  echo "$status" >"$compiling"
}

# beside LOG COMMAND…: runs it in the background, as a process group of its own.
beside() {
  local log=$1
  shift
  set -m
  "$@" </dev/null >"$log" 2>&1 &
  set +m
  groups+=("$!")
}

end_what_runs_beside() {
  local group
  for group in "${groups[@]}"; do kill -- "-$group" 2>/dev/null || true; done
  rm -f "$compiling"
}
trap end_what_runs_beside EXIT
trap 'exit 130' INT TERM

scripts/setup.sh
scripts/setup.sh --ask-for-tests
mkdir -p build/release
beside build/setup_tests.log fetch_and_build_clients
fetching=$!
scripts/build.sh release first_to_test

exec 9>"$compiling"
flock 9
beside build/compile_tests.log compile_tests
exec 9>&-

kill -0 "$fetching" 2>/dev/null && say "the programs are compiled; waiting for what only tests use (build/setup_tests.log)"
status=0
wait "$fetching" || status=$?
cat build/setup_tests.log
[ "$status" -eq 0 ] || exit "$status"

say "testing while the tests in C++ compile (build/compile_tests.log)"
ctest --preset release "$@" || status=$?
flock --shared "$compiling" true
[ "$(cat "$compiling")" = 0 ] || { cat build/compile_tests.log; exit 1; }
scripts/skipped.sh
exit "$status"
