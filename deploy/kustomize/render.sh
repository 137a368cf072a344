#!/usr/bin/env bash
# Renders deploy/kustomize/base/diptych.yaml from the chart, which is its only source.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/cluster/setup.sh --packages
python3 tests/deploy/chart.py >deploy/kustomize/base/diptych.yaml.new
mv deploy/kustomize/base/diptych.yaml.new deploy/kustomize/base/diptych.yaml
