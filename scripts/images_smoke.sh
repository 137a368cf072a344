#!/usr/bin/env bash
# Runs the images under podman as the chart does, user 65532 on a read-only root, and asks a question through all three.
#
#   scripts/images_smoke.sh [TAG]
set -euo pipefail
cd "$(dirname "$0")/.."
script=images
. scripts/say.sh
tag=${1:-0.1.0}
containers=()

# podman_run NAME TARGET COMMAND…: starts a container on the host's network.
podman_run() {
  local name=$1 target=$2
  shift 2
  podman --cgroup-manager=cgroupfs --runtime runc run --detach --name "diptych-smoke-$name" --network host --read-only --tmpfs /tmp --cap-drop all \
    --security-opt no-new-privileges --ulimit nofile=20000:20000 --ulimit nproc=1000:1000 "localhost/diptych-$target:$tag" "$@" >/dev/null
  containers+=("diptych-smoke-$name")
}

stop() { [ ${#containers[@]} -eq 0 ] || podman rm --force --time 10 "${containers[@]}" >/dev/null 2>&1; }
trap stop EXIT

model=--model=/opt/diptych/share/diptych/models/demo
podman_run vision tier-cpu vision_service $model --listen=127.0.0.1:17001 --metrics_listen=
podman_run language tier-cpu language_service $model --listen=127.0.0.1:17002 --vision_target=127.0.0.1:17001 --metrics_listen=
podman_run gateway gateway gateway --listen=127.0.0.1:17000 --http_listen=127.0.0.1:18080 --metrics_listen= --language_target=127.0.0.1:17002 --vision_target=127.0.0.1:17001
for _ in $(seq 60); do
  podman exec diptych-smoke-gateway diptych status --server 127.0.0.1:17000 >/dev/null 2>&1 && break
  sleep 0.5
done
podman exec diptych-smoke-gateway diptych doctor --server 127.0.0.1:17000 || fail "the images do not answer; podman logs shows why"
[ "$(podman exec diptych-smoke-vision diptych ask --server 127.0.0.1:17000 --json --image /opt/diptych/share/diptych/models/demo/samples/red_circle_blue_star.png \
  --question "What color is the circle?" | grep -c '"answer": *"red"')" -eq 1 ] || fail "the demo model does not answer red"
[ "$(podman inspect --format '{{.Config.User}}' diptych-smoke-gateway)" = 65532:65532 ] || fail "the image does not run as user 65532"
say "the images answer, without root and on a read-only root"
