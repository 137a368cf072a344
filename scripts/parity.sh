#!/usr/bin/env bash
# Compares this project live with a pinned transformers: scripts/parity.sh [--seed N] [--full_size DIR]
# Installs transformers into .deps/python if it is missing (7 GB with what it needs).
set -euo pipefail
cd "$(dirname "$0")/.."
script=parity
. scripts/say.sh
. scripts/python_environment.sh

python_environment
scripts/build.sh release blip2_taps vision_service language_service gateway
PYTHONPATH=tools exec "$python" -W ignore -m parity "$@"
