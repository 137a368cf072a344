#!/usr/bin/env bash
# Makes build/gpu_bundle/, which is all that a borrowed GPU machine needs besides its own Python with torch 2.11.0:
# programs, tests and benchmarks of this commit, the shared libraries that a bare Ubuntu 24.04 lacks, goldens, the demo
# model, packed, and run.sh, which unpacks and runs it. At most 60 MiB. docs/gpu.md says how to use it.
#
#   scripts/gpu_bundle.sh
#   TORCH=2.11.0          the torch that is installed there
#   BUILD=build/release   an own build against that torch, instead of one made here
set -euo pipefail
cd "$(dirname "$0")/.."
script=gpu_bundle
. scripts/say.sh

version=${TORCH:-2.11.0}
folder=torch_${version%.*}
torch=.deps/${folder//./_}
build=${BUILD:-build/gpu_release}
bundle=build/gpu_bundle
limit=$((60 << 20))
programs=(gateway vision_service language_service diptych decode_throughput vision_times kernel_rates two_tiers blip2_taps)
tests=(gpu_test cuda_kernels_test blip2_test language_engine_test)

# The wheel's headers and libraries; nothing links its CUDA half, which need not be complete.
fetch_torch() {
  [ -e "$torch/torch/lib/libtorch_cpu.so" ] && return
  say "fetching torch $version (0.5 GB)"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
    --dest "$torch/wheels" "torch==$version" || fail "torch $version could not be fetched: check the network"
  (cd "$torch" && python3 -m zipfile -e wheels/torch-*.whl .)
}

# Two small CUDA libraries that libtorch_cpu.so names; those of the usual libtorch serve for linking.
link_cuda() {
  [ -e "$torch/nvidia" ] && return
  [ -d .deps/torch/nvidia ] || fail "scripts/setup.sh fetches what torch needs beside it; run it first"
  ln -s ../torch/nvidia "$torch/nvidia"
}

build_all() {
  say "compiling against torch $version in $build (some 13 minutes of processor time, the first time)"
  # shellcheck disable=SC2016  # $ORIGIN is the loader's
  [ -n "${BUILD:-}" ] || cmake --preset release -B "$build" "-DTORCH_ROOT=$PWD/$torch/torch" -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON \
    '-DCMAKE_INSTALL_RPATH=$ORIGIN/../lib' >"$build.log" 2>&1 ||
    { tail -20 "$build.log" >&2; fail "configuring failed; the whole log is $build.log"; }
  ninja -C "$build" -j "${JOBS:-$(nproc)}" "${programs[@]}" "${tests[@]}" >"$build.log" 2>&1 ||
    { tail -20 "$build.log" >&2; fail "compiling failed; the whole log is $build.log"; }
}

# The libraries of all programs but those of the system, of torch and of CUDA.
copy_libraries() {
  local library name
  LD_LIBRARY_PATH=$torch/torch/lib:$(echo "$torch"/nvidia/*/lib | tr ' ' :) ldd "$1"/bin/* "$1"/tests/* |
    awk '$2 == "=>" { print $3 }' | sort -u | while read -r library; do
    name=${library##*/}
    case $library in *"$torch"/*|*/.deps/*) continue ;; esac
    case $name in
      ld-linux*|libc.so*|libm.so*|libdl.so*|librt.so*|libpthread.so*|libresolv.so*|libutil.so*|libstdc++.so*|libgcc_s.so*|libgomp.so*) continue ;;
    esac
    cp -L "$library" "$1/lib/$name"
  done
}

copy_all() {
  local files=$bundle/files release=$bundle/files/build/release
  rm -rf "$bundle"
  mkdir -p "$release"/{bin,tests,lib} "$files"/{tests,models,tools}
  for program in "${programs[@]}"; do cp "$build/bin/$program" "$release/bin/"; done
  for test in "${tests[@]}"; do cp "$build/tests/$test" "$release/tests/"; done
  copy_libraries "$release"
  strip "$release"/bin/* "$release"/tests/* "$release"/lib/*
  cp -r tests/goldens tests/data "$files/tests/"
  cp -r models/demo "$files/models/"
  cp -r tools/parity tools/services.py tools/make_full_size_checkpoint.py tools/gpu_bundle/*.py "$files/tools/"
  cp tools/gpu_bundle/run.sh "$bundle/"
  find "$files" -name __pycache__ -prune -exec rm -r {} +
  printf '%s%s\n' "$(git rev-parse --short=12 HEAD)" \
    "$([ -z "$(git status --porcelain --untracked-files=no)" ] || echo ', with changes')" >"$files/COMMIT"
  echo "torch $version" >"$files/TORCH"
  tar -C "$files" -czf "$bundle/files.tar.gz" .
  rm -r "$files"
}

mkdir -p build
if [ -n "${BUILD:-}" ]; then
  torch=$(dirname "$(sed -n 's/^TORCH_ROOT:PATH=//p' "$build/CMakeCache.txt")")
  version=$(sed -n 's/^Version: //p' "$torch"/torch-*.dist-info/METADATA)
else
  fetch_torch
  link_cuda
fi
build_all
copy_all
bytes=$(du -sb "$bundle" | cut -f1)
[ "$bytes" -le "$limit" ] || fail "$bundle takes $((bytes >> 20)) MiB, more than $((limit >> 20))"
say "$bundle takes $((bytes >> 20)) MiB; on the GPU machine: bash run.sh"
