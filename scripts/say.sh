# shellcheck shell=bash
# Sourced by the other scripts, which set `script` to their name: say MESSAGE, fail MESSAGE.
# shellcheck disable=SC2154  # the sourcing script sets script
say() { printf '\033[1m[%s]\033[0m %s\n' "$script" "$*"; }
fail() { printf '\033[1;31m[%s] %s\033[0m\n' "$script" "$*" >&2; exit 1; }
