#!/usr/bin/env bash
# Builds and installs what the cluster test runs beside our own processes, once, into .deps/cluster. Some 20 minutes on two cores.
#
#   tests/cluster/build_tools.sh          everything
#   tests/cluster/build_tools.sh --chart  only helm and promtool, which the quick tests of the chart use
#   tests/cluster/build_tools.sh --nodes  only what nodes need; no Go
#
# The sources are pinned by go.mod and go.sum in the folders of tests/cluster/tools/. Needs Go 1.26 or later.
set -euo pipefail
cd "$(dirname "$0")/../.."
script=cluster
. scripts/say.sh

tools=tests/cluster/tools
bin=$PWD/.deps/cluster/bin
packages=(etcd-server prometheus nftables conntrack iproute2 util-linux gnuplot-nox openssl)
# Definitions of the kinds that the chart can make beside Kubernetes' own: module, version, checksum as in go.sum, file.
definitions=(
  'sigs.k8s.io/gateway-api v1.6.3 h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc= config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml'
  'sigs.k8s.io/gateway-api v1.6.3 h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc= config/crd/standard/gateway.networking.k8s.io_httproutes.yaml'
  'github.com/kedacore/keda/v2 v2.21.0 h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps= config/crd/bases/keda.sh_scaledobjects.yaml'
  'github.com/cert-manager/cert-manager v1.21.2 h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68= deploy/crds/cert-manager.io_certificates.yaml'
)
python_packages=(grpcio==1.85.3 protobuf==7.36.2 PyYAML==6.0.4 kubernetes-validate==1.37.0)

install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  [ "$(id -u)" -eq 0 ] || fail "packages are missing; as root run:  apt-get install --no-install-recommends ${missing[*]}"
  say "installing ${missing[*]}"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

install_python_packages() {
  [ "$(cat .deps/cluster/python/.installed 2>/dev/null)" = "${python_packages[*]}" ] && return
  say "fetching gRPC, YAML and Kubernetes' schemas for Python"
  rm -rf .deps/cluster/python
  PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
    --target .deps/cluster/python "${python_packages[@]}"
  echo "${python_packages[*]}" >.deps/cluster/python/.installed
}

# build FOLDER PACKAGE: the program FOLDER, unless what is there was built from the same sources.
build() {
  local folder=$tools/$1 package=$2 sources
  sources=$(cat "$folder"/* | sha256sum)
  [ -x "$bin/$1" ] && [ "$(cat "$bin/.$1" 2>/dev/null)" = "$sources" ] && return
  command -v go >/dev/null || fail "Go is missing: install Go 1.26 or later and put it on the PATH"
  say "building $1"
  (cd "$folder" && nice -n 15 go build -trimpath -ldflags="-s -w" -o "$bin/$1" "$package")
  echo "$sources" >"$bin/.$1"
}

# fetch_definitions: into .deps/cluster/definitions.
fetch_definitions() {
  local folder=$PWD/.deps/cluster/definitions module version sum file got
  [ "$(cat "$folder/.fetched" 2>/dev/null)" = "${definitions[*]}" ] && return
  say "fetching definitions of Gateway API, KEDA and cert-manager"
  rm -rf "$folder" && mkdir -p "$folder"
  while read -r module version sum file; do
    got=$(cd "$cache" && go mod download -json "$module@$version")
    grep -qF "\"Sum\": \"$sum\"" <<<"$got" || fail "$module $version is not what it was: its checksum is not $sum"
    cp "$(sed -n 's/^.*"Dir": "\(.*\)",$/\1/p' <<<"$got")/$file" "$folder/"
  done < <(printf '%s\n' "${definitions[@]}")
  echo "${definitions[*]}" >"$folder/.fetched"
}

mkdir -p "$bin"
cache=$(mktemp -d)
trap 'chmod -R u+w "$cache"; rm -rf "$cache"' EXIT
# The caches grow to several gigabytes and are of no use afterwards. One package at a time leaves memory and a core to others.
export GOPATH=$cache/path GOCACHE=$cache/built GOFLAGS=-p=1 GOTOOLCHAIN=local CGO_ENABLED=0

install_python_packages
if [ "${1:-}" = --nodes ]; then
  install_packages iproute2 util-linux protobuf-compiler gnuplot-nox
  exit
fi
build helm helm.sh/helm/v4/cmd/helm
if [ "${1:-}" = --chart ]; then
  install_packages prometheus
  exit
fi
install_packages "${packages[@]}"
fetch_definitions
build coredns .
build control_plane .
for name in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubectl; do
  ln -sf control_plane "$bin/$name"
done
