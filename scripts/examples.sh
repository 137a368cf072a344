#!/usr/bin/env bash
# Builds the clients of examples/ into .deps/examples/, each by its language's own package manager, then runs them against the
# bundled model. A language whose tools are missing, or that cannot be built, is named and left out.
#
#   scripts/examples.sh --build   only builds; takes a second when no source has changed
set -euo pipefail
cd "$(dirname "$0")/.."
script=examples
. scripts/say.sh
. scripts/fast_go.sh
root=$PWD
out=$root/.deps/examples
longest=360  # seconds for all, besides compilers: a slow registry must not hold up the tests
mkdir -p "$out"

left_out() { say "$1 is left out: $2"; echo "$2" >"$out/$1.why"; }

# example LANGUAGE COMMAND…: runs the function build_LANGUAGE in .deps/examples/LANGUAGE if all commands are there and a source has changed.
example() {
  local language=$1 tool stamp
  shift
  stamp=$(find "examples/$language" proto scripts/examples.sh -type f -print0 | sort -z | xargs -0 cat | sha256sum)
  [ "$(cat "$out/$language/.built" 2>/dev/null)" != "$stamp" ] || return 0
  rm -rf "${out:?}/$language" "$out/$language.why"
  for tool in "$@"; do
    command -v "$tool" >/dev/null || { left_out "$language" "$tool is missing"; return 0; }
  done
  [ "$SECONDS" -lt "$longest" ] || { left_out "$language" "the others took all the time; run scripts/examples.sh again"; return 0; }
  say "building the client in $language"
  mkdir "$out/$language"
  export -f "build_$language"
  if timeout $((longest - SECONDS)) bash -euc "cd '$out/$language' && build_$language" >"$out/$language.log" 2>&1; then echo "$stamp" >"$out/$language/.built"
  else tail -5 "$out/$language.log" >&2 && left_out "$language" "it could not be built, see .deps/examples/$language.log"
  fi
}

build_node() { cp "$root"/examples/node/* . && npm install --no-audit --no-fund --fetch-retries=1; }

build_cpp() { cmake -S "$root/examples/cpp" -B . && cmake --build . --parallel 2; }

build_go() {
  cp "$root"/examples/go/* .
  export GOBIN=$PWD/bin PATH=$PWD/bin:$PATH
  go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.8
  go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1
  local package=example.com/ask/v1
  local options=module=example.com/ask,Mdiptych/v1/inference.proto=$package,Mdiptych/v1/gateway.proto=$package
  protoc -I "$root/proto" --go_out=. --go_opt="$options" --go-grpc_out=. --go-grpc_opt="$options" \
    diptych/v1/inference.proto diptych/v1/gateway.proto
  go mod tidy && go build -o ask .
}

build_java() { mvn --batch-mode --quiet --file "$root/examples/java/pom.xml" "-Dout=$PWD" compile; }

build_rust() {
  CARGO_PROFILE_DEV_DEBUG=0 cargo build --locked --jobs 2 --manifest-path "$root/examples/rust/Cargo.toml" --target-dir target
  mv target/debug/ask . && rm -r target
}

export root
export GOFLAGS=$fast_go
example node node npm
example cpp cmake c++ protoc
example go go protoc
example java mvn javac
example rust cargo cc protoc
[ "${1:-}" != --build ] || exit 0
PYTHONUNBUFFERED=1 python3 tests/examples/examples_test.py build/release/bin build/release/python
