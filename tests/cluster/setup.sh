#!/usr/bin/env bash
# Installs what the tests of the deployment use beside our own programs: Python packages into .deps/cluster, Debian packages.
#
#   tests/cluster/setup.sh             everything
#   tests/cluster/setup.sh --packages  only the Python packages, which chart_test, compose_test and node_agent_test use
set -euo pipefail
cd "$(dirname "$0")/../.."
script=cluster
. scripts/say.sh
. scripts/python_packages.sh

# Helm's own library, Kubernetes' schemas, gRPC and YAML.
python_packages=(helm-python-sdk==0.2.2 kubernetes-validate==1.37.0 grpcio==1.85.3 protobuf==7.36.2 PyYAML==6.0.4)
packages=(iproute2 util-linux protobuf-compiler gnuplot-nox)

if [ "$(cat .deps/cluster/python/.installed 2>/dev/null)" != "${python_packages[*]}" ]; then
  say "fetching ${python_packages[*]}"
  install_python_packages .deps/cluster/python --quiet "${python_packages[@]}"
  echo "${python_packages[*]}" >.deps/cluster/python/.installed
fi
[ "${1:-}" != --packages ] || exit 0

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit
[ "$(id -u)" -eq 0 ] || fail "packages are missing; as root run:  apt-get install --no-install-recommends ${missing[*]}"
say "installing ${missing[*]}"
apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
