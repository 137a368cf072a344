#!/usr/bin/env bash
# Runs the chart under a real Kubernetes control plane on this machine; builds that control plane the first time. Skipped, with the reason, without
# root, or where its tools can be neither found nor made.
#
#   scripts/cluster_test.sh [ClusterTest.test_…]
#   scripts/cluster_test.sh keda_test.py [KedaTest.test_…]   with KEDA, which is built the first time
set -euo pipefail
cd "$(dirname "$0")/.."
script=cluster
. scripts/say.sh
skip() { say "skipped: $*"; exit 0; }
[ "$(id -u)" -eq 0 ] || skip "pods get network namespaces and root file systems of their own: run this as root"
unshare --net true 2>/dev/null || skip "this machine gives no network namespaces"
tests/cluster/setup.sh || skip "its packages are missing"
tests/cluster/build_tools.sh || skip "its tools are missing"
test=cluster_test.py
if [ "${1:-}" = keda_test.py ]; then
  test=$1
  shift
  tests/cluster/build_keda.sh || skip "KEDA is missing"
fi
tests/cluster/in_namespaces.sh "$test" "$@"
