#!/usr/bin/env bash
# Compares this project live with a pinned transformers: scripts/parity.sh [--seed N] [--full_size DIR]
# Installs transformers into .deps/python if it is missing (7 GB with what it needs).
set -euo pipefail
cd "$(dirname "$0")/.."
script=parity
. scripts/say.sh

python=.deps/python/bin/python
requirements=tools/parity/requirements.txt

# True if every pinned version is installed.
environment_is_right() {
  [ -x "$python" ] && "$python" - "$requirements" <<'PY'
import sys
from importlib.metadata import PackageNotFoundError, version
for line in open(sys.argv[1]):
    name, _, wanted = line.strip().partition("==")
    if wanted:
        try:
            if version(name) != wanted:
                sys.exit(1)
        except PackageNotFoundError:
            sys.exit(1)
PY
}

if ! environment_is_right; then
  say "installing transformers and what it needs into .deps/python (some minutes)"
  python3 -m venv .deps/python ||
    fail "python3 -m venv failed; as root run:  apt-get install -y python3-venv"
  "$python" -m pip install --quiet --disable-pip-version-check -r "$requirements" ||
    fail "pip failed: check the network and the free disk (10 GB), then run this again"
fi
scripts/build.sh release blip2_taps vision_service language_service gateway
PYTHONPATH=tools exec "$python" -W ignore -m parity "$@"
