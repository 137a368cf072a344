#!/usr/bin/env bash
# Checks form: formatting, layering, protos, shell scripts, Python's names, the API reference and clang-tidy. Installs what it needs.
#
#   scripts/lint.sh           everything (clang-tidy takes some minutes)
#   scripts/lint.sh --quick   all but clang-tidy: seconds
#   scripts/lint.sh --fix     formats in place
set -euo pipefail
cd "$(dirname "$0")/.."
script=lint
. scripts/say.sh
mode=${1:-all}

if [ "$mode" = all ]; then scripts/setup.sh --lint; else scripts/setup.sh --lint-quick; fi

mapfile -t sources < <(git ls-files '*.h' '*.cc' '*.cu')
mapfile -t shells < <(git ls-files '*.sh' .ci/run)
mapfile -t scripts < <(git ls-files 'web/*.js' 'tests/web/*.mjs')
prettier=.deps/prettier/node_modules/.bin/prettier

if [ "$mode" = --fix ]; then
  clang-format -i "${sources[@]}"
  "$prettier" --log-level warn --write "${scripts[@]}"
  exit
fi

say "clang-format: ${#sources[@]} files"
clang-format --dry-run --Werror "${sources[@]}" || fail "formatting differs; scripts/lint.sh --fix corrects it"

say "prettier: ${#scripts[@]} files"
"$prettier" --log-level warn --check "${scripts[@]}" || fail "formatting differs; scripts/lint.sh --fix corrects it"

say "layering"
python3 tests/layering_test.py

say "shellcheck: ${#shells[@]} files"
shellcheck -x "${shells[@]}"

say "ruff: names that do not exist, or that nothing uses"
.deps/ruff/bin/ruff check --quiet --no-cache --isolated --select F,E9,PLE .

say "buf lint"
(cd proto && ../.deps/node/node_modules/.bin/buf lint)

if [ -d .git ] && ! git diff --quiet HEAD -- proto; then
  say "buf breaking: against what is committed"
  (cd proto && ../.deps/node/node_modules/.bin/buf breaking --against '../.git#ref=HEAD,subdir=proto') ||
    fail "callers of the old messages would break: add fields, do not rename or renumber them"
fi

say "docs/api.md"
python3 tools/make_api_reference.py --check
[ "$mode" = all ] || exit 0

say "a missing lock is an error"
checked=(clang++ -std=c++20 -I. -fsyntax-only -Werror=thread-safety tests/common/missing_lock.cc)
"${checked[@]}" || fail "Clang refuses a correct lock"
! "${checked[@]}" -DMISSING_LOCK 2>/dev/null || fail "Clang does not see a missing lock: common/mutex.h lost its annotations"

# The preset clang compiles each source by itself; of its build only the generated headers are needed.
say "clang-tidy (some minutes)"
cmake --preset clang >/dev/null
mapfile -t generated < <(ninja -C build/clang -t targets all | sed -nE 's/^(proto\/[^:]*\.pb\.h): .*/\1/p')
ninja -C build/clang "${generated[@]}" >/dev/null
mapfile -t units < <(git ls-files 'common/*.cc' 'blip2/*.cc' 'vision_service/*.cc' 'language_service/*.cc' 'gateway/*.cc' 'cli/*.cc')
printf '%s\n' "${units[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p build/clang
