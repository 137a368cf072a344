#!/usr/bin/env bash
# Builds everything that `make test` runs. While compilers run, what only tests use is fetched beside them; its output follows.
set -euo pipefail
cd "$(dirname "$0")/.."
script='test'
. scripts/say.sh
log=build/setup_tests.log

fetch_and_build_clients() {
  scripts/setup.sh --tests
  scripts/examples.sh --build
}

scripts/setup.sh
scripts/setup.sh --ask-for-tests
mkdir -p build
set -m
fetch_and_build_clients </dev/null >"$log" 2>&1 &
set +m
fetching=$!
trap 'kill -- "-$fetching" 2>/dev/null || true' EXIT  # its process group
trap 'exit 130' INT TERM

scripts/build.sh release
kill -0 "$fetching" 2>/dev/null && say "compiled; waiting for what only tests use ($log)"
status=0
wait "$fetching" || status=$?
trap - EXIT
cat "$log"
exit "$status"
