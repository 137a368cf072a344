#!/usr/bin/env bash
# Configures and builds one preset: scripts/build.sh [preset] [target …]
set -euo pipefail
cd "$(dirname "$0")/.."
script=build
. scripts/say.sh
preset=${1:-release}
shift || true

# ccache must be told that precompiled headers may be cached, and that the compiler lists what it read, so that nothing is preprocessed twice.
export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:-pch_defines,time_macros,include_file_mtime,include_file_ctime}
export CCACHE_DEPEND=1
export CCACHE_INODECACHE=1  # parsed headers of 300 MB are hashed once, not by each source that begins with them

build=build/$preset
mkdir -p "$build"
options=()
[ -n "${TORCH_ROOT:-}" ] && options+=("-DTORCH_ROOT=$TORCH_ROOT")
if [ ! -e "$build/build.ninja" ] || [ -n "${TORCH_ROOT:-}" ]; then
  say "configuring ($preset)"
  cmake --preset "$preset" "${options[@]}" >"$build/configure.log" 2>&1 || {
    tail -20 "$build/configure.log" >&2
    fail "configuring failed; the whole log is $build/configure.log. scripts/setup.sh installs what is missing."
  }
  say "compiling; the first time takes some minutes, later seconds"
fi
targets=()
[ $# -gt 0 ] && targets=(--target "$@")
cmake --build --preset "$preset" "${targets[@]}" ||
  fail "compiling failed: the first error above is the cause. After an update of system packages: rm -rf $build"
