#!/usr/bin/env bash
# Starts vision service, language service and gateway, prints where they are, and stays until Ctrl-C.
#
#   MODEL=models/demo   checkpoint folder, or org/name of a model in Hugging Face's cache
#   DTYPE=float32       float32, bfloat16, float16, int8, int4 or auto
#   DEVICE=cpu          cpu, cuda or cuda:N
#   VISION_REPLICAS=1   LANGUAGE_REPLICAS=1
set -euo pipefail
cd "$(dirname "$0")/.."
stack_name=serve
. scripts/stack.sh

trap stack_down EXIT
trap 'stack_say "draining"; exit 0' INT TERM
stack_up

printf '\n%-18s %-18s %-18s %-14s %-10s %s\n' READY address metrics model dtype device
for row in "${stack_rows[@]}"; do
  IFS='|' read -r tier port metrics <<<"$row"
  if [ "$tier" = gateway ]; then
    printf '%-18s %-18s %-18s\n' "$tier" "127.0.0.1:$port" ":$metrics/metrics"
  else
    printf '%-18s %-18s %-18s %-14s %-10s %s\n' "$tier" "127.0.0.1:$port" ":$metrics/metrics" "$(basename "$stack_model")" "${DTYPE:-float32}" "${DEVICE:-cpu}"
  fi
done
printf '\nOpen:  http://%s/ is the playground: ask an image, see where time and tokens go\n' "$HTTP"
printf 'Ask:   %s/diptych ask --server %s --image models/demo/samples/*.png --question "What color is the circle?"\n' "$stack_bin" "$GATEWAY"
printf 'HTTP:  http://%s/v1 speaks OpenAI'"'"'s protocol: curl -s http://%s/v1/models\n' "$HTTP" "$HTTP"
printf 'Logs:  %s/    Stop: Ctrl-C\n' "$stack_logs"
wait
