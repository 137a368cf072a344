# shellcheck shell=bash
# Sourced by serve.sh, and by the scripts that ask a stack of their own: `diptych serve`, which starts, watches and stops it.
#
# Reads stack_name (for messages), MODEL, DTYPE, DEVICE, VISION_REPLICAS and LANGUAGE_REPLICAS. stack_command is the whole
# command. stack_up runs it in the background until it is ready and sets GATEWAY (host:port); stack_down ends it.

stack_bin=build/release/bin
stack_command=("$stack_bin/diptych" serve "${MODEL:-models/demo}" --log_folder build/logs)
[ -z "${DTYPE:-}" ] || stack_command+=(--dtype "$DTYPE")
[ -z "${DEVICE:-}" ] || stack_command+=(--device "$DEVICE")
[ -z "${VISION_REPLICAS:-}" ] || stack_command+=(--vision_replicas "$VISION_REPLICAS")
[ -z "${LANGUAGE_REPLICAS:-}" ] || stack_command+=(--language_replicas "$LANGUAGE_REPLICAS")
stack_pid=

# shellcheck disable=SC2154  # the sourcing script sets stack_name
stack_say() { printf '\033[1m[%s]\033[0m %s\n' "$stack_name" "$*"; }
stack_fail() { printf '\033[1;31m[%s] %s\033[0m\n' "$stack_name" "$*" >&2; exit 1; }

stack_up() {
  local line
  exec {stack_out}< <(exec "${stack_command[@]}")
  stack_pid=$!
  # shellcheck disable=SC2154  # exec sets stack_out
  while read -r line <&"$stack_out"; do
    # shellcheck disable=SC2034  # read by the sourcing script
    case $line in
      gateway*) read -r _ GATEWAY _ <<<"$line" ;;
      Logs:*) return ;;
    esac
  done
  wait "$stack_pid" || exit
  exit 130  # it was asked to stop before it was ready
}

stack_down() {
  [ -n "$stack_pid" ] || return 0
  kill -TERM "$stack_pid" 2>/dev/null || true
  wait "$stack_pid" 2>/dev/null || true
  stack_pid=
}
