#!/usr/bin/env bash
# Formatting, layering, protos, shell scripts and clang-tidy. `scripts/lint.sh --fix` formats in place.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m[lint]\033[0m %s\n' "$*"; }
fail() { printf '\033[1;31m[lint] %s\033[0m\n' "$*" >&2; exit 1; }

for tool in clang-format:clang-format clang-tidy:clang-tidy shellcheck:shellcheck npm:npm; do
  command -v "${tool%%:*}" >/dev/null || fail "${tool%%:*} is missing; as root run:  apt-get install -y ${tool##*:}"
done

mapfile -t sources < <(git ls-files '*.h' '*.cc')
mapfile -t shells < <(git ls-files '*.sh' .ci/run)

if [ "${1:-}" = --fix ]; then
  clang-format -i "${sources[@]}"
  exit
fi

say "clang-format: ${#sources[@]} files"
clang-format --dry-run --Werror "${sources[@]}" || fail "formatting differs; scripts/lint.sh --fix mends it"

say "layering"
python3 tests/layering_test.py

say "shellcheck: ${#shells[@]} files"
shellcheck -x "${shells[@]}"

say "buf lint"
[ -x .deps/node/node_modules/.bin/buf ] || npm install --silent --no-audit --no-fund --prefix .deps/node @bufbuild/buf@1.75.0 >/dev/null
(cd proto && ../.deps/node/node_modules/.bin/buf lint)

say "docs/api.md"
[ -d .deps/protobuf ] || python3 -m pip install --quiet --root-user-action=ignore --disable-pip-version-check \
  --break-system-packages --target .deps/protobuf protobuf==6.33.1 || fail "pip could not fetch protobuf: check the network"
python3 tools/make_api_reference.py --check

# The preset clang compiles each source by itself; of its build only the generated headers are needed.
say "clang-tidy (some minutes)"
cmake --preset clang >/dev/null
mapfile -t generated < <(ninja -C build/clang -t targets all | sed -nE 's/^(proto\/[^:]*\.pb\.h): .*/\1/p')
ninja -C build/clang "${generated[@]}" >/dev/null
mapfile -t units < <(git ls-files 'common/*.cc' 'blip2/*.cc' 'vision_service/*.cc' 'language_service/*.cc' 'gateway/*.cc' 'cli/*.cc')
printf '%s\n' "${units[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p build/clang
