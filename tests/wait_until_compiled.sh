#!/usr/bin/env bash
# Waits while scripts/run_tests.sh compiles tests: wait_until_compiled.sh BUILD_FOLDER; fails if that failed. Run by ctest as tests_are_compiled.
set -euo pipefail
compiling=$1/compiling_tests
[ -e "$compiling" ] || exit 0
flock --shared "$compiling" true
[ "$(cat "$compiling")" = 0 ] || { echo "compiling the tests failed"; exit 1; }
