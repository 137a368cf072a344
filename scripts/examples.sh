#!/usr/bin/env bash
# Builds the clients of examples/ into build/examples/, each by its language's own package manager, then runs them against the
# bundled model. Languages whose tools are missing are named and left out.
set -euo pipefail
cd "$(dirname "$0")/.."
script=examples
. scripts/say.sh
out=$PWD/build/examples
mkdir -p "$out"

# example LANGUAGE COMMAND…: runs the function build_LANGUAGE if all commands are there.
example() {
  local language=$1 tool
  shift
  for tool in "$@"; do
    command -v "$tool" >/dev/null || { say "$language is left out: $tool is missing"; return; }
  done
  say "$language"
  rm -rf "${out:?}/$language.log"
  "build_$language" >"$out/$language.log" 2>&1 || { tail -5 "$out/$language.log" >&2; say "$language is left out: it could not be built"; }
}

build_node() { cp -r examples/node "$out/"; (cd "$out/node" && npm install --no-audit --no-fund); }

build_cpp() { cmake -S examples/cpp -B "$out/cpp" -DCMAKE_BUILD_TYPE=Release && cmake --build "$out/cpp"; }

build_go() {
  mkdir -p "$out/go"
  cp examples/go/* "$out/go"
  export GOBIN=$out/go/bin PATH=$out/go/bin:$PATH GOFLAGS=-p=1
  go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.8
  go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1
  protoc -I proto --go_out="$out/go" --go-grpc_out="$out/go" \
    --go_opt=module=example.com/ask,Mdiptych/v1/inference.proto=example.com/ask/v1,Mdiptych/v1/gateway.proto=example.com/ask/v1 \
    --go-grpc_opt=module=example.com/ask,Mdiptych/v1/inference.proto=example.com/ask/v1,Mdiptych/v1/gateway.proto=example.com/ask/v1 \
    diptych/v1/inference.proto diptych/v1/gateway.proto
  (cd "$out/go" && go mod tidy && go build -o ask .)
}

example node node npm
example cpp cmake c++ protoc
example go go protoc
PYTHONUNBUFFERED=1 python3 tests/examples/examples_test.py build/release/bin build/release/python
