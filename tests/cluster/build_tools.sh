#!/usr/bin/env bash
# Fetches and builds, once, what the cluster test runs beside our own programs, into .deps/cluster: etcd and Prometheus from Debian's packages
# (unpacked, not installed: no daemon starts), Kubernetes' control plane with kubectl and helm, CoreDNS, a control plane for xDS, and the
# definitions of the custom objects that the chart can make. Building takes about 15 minutes of a core and 10 GB of Go's caches (GOPATH and GOCACHE say where).
set -euo pipefail
cd "$(dirname "$0")/../.."
script=cluster
. scripts/say.sh
deps=$PWD/.deps/cluster
kubernetes=$(sed -n 's/^\tk8s.io\/kubernetes \(v.*\)/\1/p' tests/cluster/control_plane/go.mod)
versions=k8s.io/component-base/version
go=$(command -v go || echo /usr/local/go/bin/go)

# unpack PACKAGE PROGRAM: a Debian package, unless the program is there already.
unpack() {
  [ ! -x "$deps/debian/usr/bin/$2" ] || return 0
  say "fetching $1"
  mkdir -p "$deps/packages"
  (cd "$deps/packages" && apt-get download -qq "$1" 2>/dev/null) || fail "cannot fetch $1: run  apt-get update  as root first"
  dpkg -x "$deps/packages/$1"_*.deb "$deps/debian"
}

# build NAME: the Go program of the folder NAME, unless it is there already, made of the same sources.
build() {
  local name=$1 sources
  local flags=(-trimpath -ldflags="-s -w -X $versions.gitVersion=$kubernetes")
  sources=$({ cat "tests/cluster/$name"/{go.mod,main.go} && echo "${flags[@]}"; } | sha256sum)
  [ "$(cat "$deps/bin/.$name.of" 2>/dev/null)" != "$sources" ] || return 0
  [ -x "$go" ] || fail "go is missing: install Go 1.26 or newer (Debian's is older)"
  say "building $name (minutes; only this once)"
  (cd "tests/cluster/$name" && "$go" build -v "${flags[@]}" -o "$deps/bin/$name" . 2>&1) |
    awk -v name="$name" '/^go: downloading/ {next} /^[a-z0-9]+([.\/][^ :]*)?$/ {if (++n % 100 == 0) {print "  " name ": " n " packages"; fflush()} next} {print}'
  echo "$sources" >"$deps/bin/.$name.of"
}

# definitions MODULE@VERSION PATH...: custom resource definitions out of a Go module.
definitions() {
  local module=$1 file folder
  shift
  for file in "$@"; do
    [ ! -f "$deps/definitions/${file##*/}" ] || continue
    folder=$("$go" mod download -json "$module" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    install -D -m 644 "$folder/$file" "$deps/definitions/${file##*/}"
  done
}

mkdir -p "$deps/bin"
unpack etcd-server etcd
unpack prometheus prometheus
build control_plane
build coredns
build xds
for name in kube-apiserver kube-controller-manager kube-scheduler kubectl helm; do
  ln -sf control_plane "$deps/bin/$name"
done
definitions sigs.k8s.io/gateway-api@v1.6.3 config/crd/standard/gateway.networking.k8s.io_{backendtlspolicies,grpcroutes,httproutes}.yaml
definitions github.com/kedacore/keda/v2@v2.21.0 config/crd/bases/keda.sh_scaledobjects.yaml
definitions github.com/cert-manager/cert-manager@v1.21.2 deploy/crds/cert-manager.io_certificates.yaml
