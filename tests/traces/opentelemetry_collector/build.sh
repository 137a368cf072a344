#!/usr/bin/env bash
# Builds OpenTelemetry's own collector, with OTLP in and a file out, into .deps/otel: two minutes of a core, once. Then ctest runs
# opentelemetry_collector_test, too.
set -euo pipefail
cd "$(dirname "$0")"
go=$(command -v go || echo /usr/local/go/bin/go)
[ -x "$go" ] || { echo "go is missing: install Go 1.26 or newer (Debian's is older)" >&2; exit 1; }
"$go" build -trimpath -ldflags="-s -w" -o ../../../.deps/otel/collector .
