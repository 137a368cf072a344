#!/usr/bin/env bash
# Renders deploy/kustomize/base/diptych.yaml from the chart, which is its only source. Needs helm.
set -euo pipefail
cd "$(dirname "$0")/../.."
helm=.deps/cluster/bin/helm
[ -x "$helm" ] || helm=helm
"$helm" template diptych deploy/helm/diptych --namespace diptych --skip-tests >deploy/kustomize/base/diptych.yaml
