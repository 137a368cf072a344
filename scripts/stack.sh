# shellcheck shell=bash
# Sourced by demo.sh and serve.sh: starts and stops the three processes.
#
# Reads stack_name (for messages), MODEL, DTYPE, DEVICE, VISION_REPLICAS and LANGUAGE_REPLICAS. stack_up sets GATEWAY and HTTP
# (host:port) and stack_rows ("tier|port|metrics port" for each process).

stack_bin=build/release/bin
stack_logs=build/logs
stack_pids=()
stack_rows=()

# shellcheck disable=SC2154  # the sourcing script sets stack_name
stack_say() { printf '\033[1m[%s]\033[0m %s\n' "$stack_name" "$*"; }
stack_fail() { printf '\033[1;31m[%s] %s\033[0m\n' "$stack_name" "$*" >&2; exit 1; }

# stack_port WANTED: prints WANTED if nothing listens there, else a free port.
stack_port() {
  python3 - "$1" <<'PY'
import socket, sys
for port in (int(sys.argv[1]), 0):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            print(f"port {port} is taken: another one is chosen", file=sys.stderr)
            continue
        print(s.getsockname()[1])
        break
PY
}

# stack_metrics WANTED: an address for metrics.
stack_metrics() { echo "127.0.0.1:$(stack_port "$1")"; }

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
  stack_rows+=("$tier|$port|$(sed -n 's/^READY .* metrics_port=\([0-9]*\)$/\1/p' "$log")")
}

stack_up() {
  mkdir -p "$stack_logs"
  local model=(--model "${MODEL:-models/demo}" --device "${DEVICE:-cpu}" --dtype "${DTYPE:-float32}")
  local vision="" language="" i port
  for ((i = 0; i < ${VISION_REPLICAS:-1}; i++)); do
    port=$(stack_port $((7001 + 10 * i)))
    stack_start vision_service "$i" "$port" "$stack_bin/vision_service" "${model[@]}" \
      --metrics_listen "$(stack_metrics $((9001 + 10 * i)))"
    vision+="${vision:+,}127.0.0.1:$port"
  done
  for ((i = 0; i < ${LANGUAGE_REPLICAS:-1}; i++)); do
    port=$(stack_port $((7002 + 10 * i)))
    stack_start language_service "$i" "$port" "$stack_bin/language_service" "${model[@]}" --vision_target "ipv4:$vision" \
      --metrics_listen "$(stack_metrics $((9002 + 10 * i)))"
    language+="${language:+,}127.0.0.1:$port"
  done
  port=$(stack_port 7000)
  HTTP=127.0.0.1:$(stack_port 8080)
  stack_start gateway 0 "$port" "$stack_bin/gateway" --language_target "ipv4:$language" --vision_target "ipv4:$vision" \
    --http_listen "$HTTP" --metrics_listen "$(stack_metrics 9000)"
  # shellcheck disable=SC2034  # read by the sourcing script
  GATEWAY=127.0.0.1:$port
}

stack_down() {
  local i
  for ((i = ${#stack_pids[@]} - 1; i >= 0; i--)); do
    kill -TERM "${stack_pids[$i]}" 2>/dev/null || true
    wait "${stack_pids[$i]}" 2>/dev/null || true
  done
  stack_pids=()
}
