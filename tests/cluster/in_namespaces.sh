#!/usr/bin/env bash
# Runs a test of this folder in network, mount and process namespaces of its own: nothing of it is left, however it ends. Run as root.
# The ports of the cluster's own servers, 36000 to 36999, are not taken by outgoing connections.
#
#   tests/cluster/in_namespaces.sh rollout_test.py [RolloutTest.test_…]
set -euo pipefail
cd "$(dirname "$0")/../.."
script=cluster
. scripts/say.sh
[ "$(id -u)" -eq 0 ] || fail "run this as root: pods get network namespaces and root file systems of their own"
exec unshare --mount --net --pid --fork --kill-child --mount-proc \
  bash -c 'mount -t tmpfs tmpfs /run && mkdir -p /run/netns && echo 36000-36999 >/proc/sys/net/ipv4/ip_local_reserved_ports && cd tests/cluster && exec python3 "$@"' _ "$@"
