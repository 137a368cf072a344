#!/usr/bin/env bash
# The benchmark suite: some minutes with the bundled model. Writes build/bench/DATE.md, a report with machine and commit.
#
#   MODEL=models/demo   checkpoint folder, or ORG/NAME[@REVISION]    DTYPE=auto   DEVICE=cpu
set -euo pipefail
cd "$(dirname "$0")/.."
stack_name=bench
. scripts/stack.sh

checkpoint=${MODEL:-models/demo}
[ -d "$checkpoint" ] || checkpoint=$("$stack_bin/diptych" pull "$checkpoint")
report=build/bench/$(date -u +%Y-%m-%dT%H%M%SZ).md
mkdir -p build/bench

machine() {
  local cpu memory
  cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
  memory=$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)
  printf '%s, %s processors, %s; load %s when this began' "$cpu" "$(nproc)" "$memory" "$(cut -d' ' -f1 /proc/loadavg)"
}

# section TITLE COMMAND…: runs it and puts what it prints into the report.
# shellcheck disable=SC2016  # the back quotes are Markdown
section() {
  local title=$1
  shift
  stack_say "$title"
  printf '\n## %s\n`%s`\n```\n' "$title" "${*/#$stack_bin\//}" >>"$report"
  "$@" 2>/dev/null >>"$report" || stack_fail "$title failed: run it by hand: $*"
  printf '```\n' >>"$report"
}

{
  printf '# Benchmarks of %s\n\n' "$(date -u '+%F %R UTC')"
  printf -- '- commit: %s%s\n' "$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)" \
    "$([ -z "$(git status --porcelain --untracked-files=no 2>/dev/null)" ] || echo ', with changes')"
  printf -- '- machine: %s\n- model: %s, %s on %s\n' "$(machine)" "$(basename "${MODEL:-$checkpoint}")" "${DTYPE:-auto}" "${DEVICE:-cpu}"
} >"$report"

trap stack_down EXIT
trap 'exit 130' INT TERM
stack_up
section "What a question costs" "$stack_bin/diptych" bench cost --server "$GATEWAY" --repeat 15
section "Resolutions" "$stack_bin/diptych" sweep --server "$GATEWAY" --repeat 9 --sizes 112,224,336,448 \
  --image models/demo/samples/red_circle_blue_star.png --question "Describe the image."
section "Load, images" "$stack_bin/diptych" bench load --server "$GATEWAY" --requests 256 --concurrency 8
section "Load, text alone" "$stack_bin/diptych" bench load --server "$GATEWAY" --requests 256 --concurrency 8 --text_alone
closed=$("$stack_bin/diptych" bench load --server "$GATEWAY" --requests 64 --concurrency 8 --json)
rate=$(python3 -c 'import json, sys; print(round(0.7 * json.loads(sys.argv[1])["answers_per_second"], 3))' "$closed")
section "Load at 0.7 of what eight at a time take, a third without an image" "$stack_bin/diptych" bench load --server "$GATEWAY" \
  --requests 128 --rate "$rate" --text_share 0.33 --slo_first_token 2s --slo_total 6s
stack_down
section "Optimisations" "$stack_bin/diptych" bench optimizations --model "$checkpoint" --device "${DEVICE:-cpu}" --rounds 5
section "The decoder alone" build/release/bin/decode_throughput --model="$checkpoint" --dtype="${DTYPE:-auto}" --device="${DEVICE:-cpu}"
section "The vision transformer alone" build/release/bin/vision_times --model="$checkpoint" --dtype="${DTYPE:-auto}" \
  --device="${DEVICE:-cpu}" --mergings=0,100,200 --batches=1,8
section "Requests of every kind at once" build/release/bin/mixed_load 500
section "What the gateway adds" build/release/bin/gateway_latency
section "The wire between the tiers" build/release/bin/wire_times
section "Two tiers, and the same in one process" build/release/bin/two_tiers
section "Token delivery, with a decoder that computes nothing" build/release/bin/token_delivery
section "What a card would wait between two steps" build/release/bin/step_gap
stack_say "the report is $report"
