#!/usr/bin/env bash
# Starts vision service, language service and gateway, prints where they are, and stays until Ctrl-C.
#
#   MODEL=models/demo   checkpoint folder, or ORG/NAME[@REVISION] on Hugging Face's hub, which is pulled first if need be
#   DTYPE=auto          auto, float32, bfloat16, float16, int8, int4 or fp8
#   DEVICE=cpu          cpu, cuda or cuda:N
#   VISION_REPLICAS=1   LANGUAGE_REPLICAS=1
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/stack.sh
exec "${stack_command[@]}"
