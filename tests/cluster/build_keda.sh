#!/usr/bin/env bash
# Builds, once, KEDA's operator, metrics API and admission out of its Go module, unchanged, into .deps/cluster/keda, with the definitions of its
# objects. About 20 minutes of a core: the operator links a client of everything that it can ask.
set -euo pipefail
cd "$(dirname "$0")/../.."
script=keda
. scripts/say.sh
version=v2.21.0
folder=$PWD/.deps/cluster/keda
go=$(command -v go || echo /usr/local/go/bin/go)

[ "$(cat "$folder/.version" 2>/dev/null)" != "$version" ] || exit 0
[ -x "$go" ] || fail "go is missing: install Go 1.26 or newer (Debian's is older)"
say "building KEDA $version (minutes; only this once)"
source=$("$go" mod download -json "github.com/kedacore/keda/v2@$version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
mkdir -p "$folder/bin" "$folder/definitions"
(cd "$source" && GOFLAGS="-buildvcs=false -mod=readonly" "$go" build -p 2 -trimpath -ldflags="-s -w" -o "$folder/bin/" ./cmd/operator ./cmd/adapter ./cmd/webhooks)
install -m 644 "$source"/config/crd/bases/*.yaml "$folder/definitions/"
install -m 644 "$source/config/webhooks/validation_webhooks.yaml" "$folder/"
echo "$version" >"$folder/.version"
