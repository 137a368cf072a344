#!/usr/bin/env bash
# Measures a model here and in transformers, in turn on this machine: scripts/rivals.sh MODEL [--rounds N] [--engines …]
# Installs transformers into .deps/python if it is missing. Writes build/bench/DATE-rivals.md.
set -euo pipefail
cd "$(dirname "$0")/.."
script=rivals
. scripts/say.sh
. scripts/python_environment.sh

[ $# -gt 0 ] || fail "which model? scripts/rivals.sh DIR; tools/make_full_size_checkpoint.py writes one of BLIP2-OPT-2.7b's size"
python_environment
scripts/build.sh release vision_service language_service gateway
PYTHONPATH=tools exec "$python" -W ignore -m rivals "$@"
