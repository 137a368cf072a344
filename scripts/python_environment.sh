# shellcheck shell=bash
# Sourced by scripts that need transformers: python_environment installs it into .deps/python if it is missing (7 GB with what
# it needs) and sets `python`.
. scripts/python_packages.sh
python=.deps/python/bin/python
python_requirements=tools/parity/requirements.txt

# True if every pinned version is installed.
python_environment_is_right() {
  [ -x "$python" ] && "$python" - "$python_requirements" <<'PY'
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

python_environment() {
  python_environment_is_right && return
  say "installing transformers and what it needs into .deps/python (some minutes)"
  python3 -m venv .deps/python ||
    fail "python3 -m venv failed; as root run:  apt-get install -y python3-venv"
  install_into_environment .deps/python -r "$python_requirements" ||
    fail "pip failed: check the network and the free disk (10 GB), then run this again"
}
