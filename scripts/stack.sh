# shellcheck shell=bash
# Sourced by demo.sh and serve.sh: starts and stops the three processes.
#
# Reads stack_name (for messages), MODEL, DTYPE, DEVICE, VISION_REPLICAS and LANGUAGE_REPLICAS. stack_up sets GATEWAY and HTTP
# (host:port), stack_model, stack_logs and stack_rows ("tier|port|metrics port" for each process). Several stacks may run
# beside each other: whoever comes later takes free ports and a log folder of its own.

stack_bin=build/release/bin
stack_logs=  # build/logs, or the next that no other stack has: stack_claim_logs
stack_pids=()
stack_rows=()

# shellcheck disable=SC2154  # the sourcing script sets stack_name
stack_say() { printf '\033[1m[%s]\033[0m %s\n' "$stack_name" "$*"; }
stack_fail() { printf '\033[1;31m[%s] %s\033[0m\n' "$stack_name" "$*" >&2; exit 1; }

# stack_claim_logs: sets stack_logs to a folder that belongs to this stack for as long as it or its servers run.
stack_claim_logs() {
  local number
  for ((number = 1; number <= 99; number++)); do
    stack_logs=build/logs
    [ $number -eq 1 ] || stack_logs=build/logs-$number
    mkdir -p "$stack_logs"
    exec {stack_lock}>"$stack_logs/.lock"
    # shellcheck disable=SC2154  # exec sets stack_lock
    flock -n "$stack_lock" && return
    exec {stack_lock}>&-
  done
  stack_fail "99 stacks run already; their logs are in build/logs*"
}

# stack_port WANTED: prints WANTED if nothing listens there, else 0: the server takes a free one.
stack_port() {
  python3 - "$1" <<'PY'
import socket, sys
with socket.socket() as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(("127.0.0.1", int(sys.argv[1])))
    except OSError:
        print(f"port {sys.argv[1]} is taken: another one is chosen", file=sys.stderr)
        print(0)
    else:
        print(sys.argv[1])
PY
}

# stack_free_port: prints a port that nothing listens on.
stack_free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# stack_metrics WANTED: an address for metrics.
stack_metrics() { echo "127.0.0.1:$(stack_port "$1")"; }

# stack_find_model: sets stack_model to the checkpoint folder that MODEL means: a folder, or the name of a model that was
# downloaded into Hugging Face's cache.
stack_find_model() {
  local wanted=${MODEL:-models/demo} cache=${HF_HUB_CACHE:-${HF_HOME:-$HOME/.cache/huggingface}/hub} snapshots="" found
  stack_model=$wanted
  if [[ ! -d $wanted && $wanted =~ ^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$ ]]; then
    snapshots=$cache/models--${wanted/\//--}/snapshots
    for found in "$snapshots"/*/; do
      [ ! -e "$found/config.json" ] || stack_model=${found%/}
    done
  fi
  [ ! -e "$stack_model/config.json" ] || return 0
  [ ! -d "$stack_model" ] ||
    stack_fail "MODEL=$wanted holds no config.json. It takes the folder of a BLIP-2 checkpoint as Hugging Face lays it out: config.json, *.safetensors, the tokenizer's files."
  [ -z "$snapshots" ] ||
    stack_fail "MODEL=$wanted: there is no folder $PWD/$wanted, and no download of it in $snapshots. Get it with:  hf download $wanted   (or give the folder of a checkpoint: make serve MODEL=DIR)"
  stack_fail "MODEL=$wanted: there is no such folder (looked from $PWD). Give the folder of a BLIP-2 checkpoint, the name of one that Hugging Face's cache holds, or nothing for models/demo."
}

# stack_start TIER NUMBER PORT COMMAND…: starts a process in the background and waits for its READY line.
stack_start() {
  local tier=$1 port=$3 log=$stack_logs/$1.$2.log tenths=0 pid
  shift 3
  : >"$log"  # else an earlier run's READY line may be found before the process has begun
  "$@" --listen "127.0.0.1:$port" >"$log" 2>&1 &
  pid=$!
  stack_pids+=("$pid")
  until grep -q READY "$log" 2>/dev/null; do
    if ! kill -0 "$pid" 2>/dev/null; then
      tail -5 "$log" >&2
      stack_fail "$tier did not start; the whole log is $log"
    fi
    sleep 0.1
    tenths=$((tenths + 1))
    [ $((tenths % 100)) -ne 0 ] || stack_say "$tier is still loading ($((tenths / 10)) s)"
    [ $tenths -lt 6000 ] || stack_fail "$tier was not ready after 10 minutes; its log is $log"
  done
  stack_started_port=$(sed -n 's/^READY .* port=\([0-9]*\) .*$/\1/p' "$log")
  stack_rows+=("$tier|$stack_started_port|$(sed -n 's/^READY .* metrics_port=\([0-9]*\)$/\1/p' "$log")")
}

stack_up() {
  stack_find_model
  stack_claim_logs
  if [ "$stack_model" != "${MODEL:-models/demo}" ]; then  # a snapshot's folder is named by a hash: it gets the model's name
    mkdir -p "$stack_logs/model"
    ln -sfn "$stack_model" "$stack_logs/model/$(basename "$MODEL")"
    stack_model=$stack_logs/model/$(basename "$MODEL")
  fi
  local model=(--model "$stack_model" --device "${DEVICE:-cpu}" --dtype "${DTYPE:-float32}")
  local vision="" language="" i http
  for ((i = 0; i < ${VISION_REPLICAS:-1}; i++)); do
    stack_start vision_service "$i" "$(stack_port $((7001 + 10 * i)))" "$stack_bin/vision_service" "${model[@]}" \
      --metrics_listen "$(stack_metrics $((9001 + 10 * i)))"
    vision+="${vision:+,}127.0.0.1:$stack_started_port"
  done
  for ((i = 0; i < ${LANGUAGE_REPLICAS:-1}; i++)); do
    stack_start language_service "$i" "$(stack_port $((7002 + 10 * i)))" "$stack_bin/language_service" "${model[@]}" \
      --vision_target "ipv4:$vision" --metrics_listen "$(stack_metrics $((9002 + 10 * i)))"
    language+="${language:+,}127.0.0.1:$stack_started_port"
  done
  http=$(stack_port 8080)
  [ "$http" -ne 0 ] || http=$(stack_free_port)
  HTTP=127.0.0.1:$http
  stack_start gateway 0 "$(stack_port 7000)" "$stack_bin/gateway" --language_target "ipv4:$language" \
    --vision_target "ipv4:$vision" --http_listen "$HTTP" --metrics_listen "$(stack_metrics 9000)"
  # shellcheck disable=SC2034  # read by the sourcing script
  GATEWAY=127.0.0.1:$stack_started_port
}

stack_down() {
  local i
  for ((i = ${#stack_pids[@]} - 1; i >= 0; i--)); do
    kill -TERM "${stack_pids[$i]}" 2>/dev/null || true
    wait "${stack_pids[$i]}" 2>/dev/null || true
  done
  stack_pids=()
}
