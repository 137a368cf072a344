#!/usr/bin/env bash
# Builds the images of deploy/images/Containerfile with buildah, on a Debian base made here by mmdebstrap, and tries them under
# podman. Needs no registry; takes the programs of build/release. Run as root on Debian 12.
#
#   scripts/images.sh          gateway and tier-cpu
#   TAG=0.1.0                  their tag
set -euo pipefail
cd "$(dirname "$0")/.."
script=images
. scripts/say.sh
tag=${TAG:-0.1.0}
base=localhost/diptych-base

install_tools() {
  local missing=() package
  for package in buildah podman runc mmdebstrap; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "installing ${missing[*]}"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# runtime_packages: the Debian packages that own the libraries of our programs.
runtime_packages() {
  ldd build/release/bin/{gateway,vision_service,language_service,diptych} | grep -o '/[^ ]*\.so[^ ]*' | grep -v "$PWD" | sort -u |
    while read -r library; do realpath "$library"; realpath "$library" | sed 's#^/usr##'; done |
    { xargs dpkg-query -S 2>/dev/null || true; } | cut -d: -f1 | sort -u  # a library is listed with or without /usr
}

make_base() {
  local packages
  packages=$(runtime_packages | paste -sd,)
  buildah inspect --type image "$base" >/dev/null 2>&1 &&
    [ "$(buildah inspect --type image --format '{{index .OCIv1.Config.Labels "packages"}}' "$base")" = "$packages" ] && return
  say "making a base of Debian 12"
  mmdebstrap --quiet --variant=essential --include="$packages,binutils,ca-certificates" bookworm build/images-base.tar
  local container
  container=$(buildah from scratch)
  buildah add --quiet "$container" build/images-base.tar / >/dev/null
  buildah config --label "packages=$packages" "$container"
  buildah commit --quiet "$container" "$base" >/dev/null
  buildah rm "$container" >/dev/null
  rm build/images-base.tar
}

# build TARGET NAME: builds the image NAME and prints its digest.
build() {
  buildah build --quiet --isolation chroot --timestamp 0 --layers=false --file deploy/images/Containerfile --ignorefile deploy/images/Containerfile.dockerignore \
    --target "$1" --build-arg BASE="$base" --build-arg PROGRAMS=prebuilt --tag "$2" . >/dev/null
  buildah inspect --type image --format '{{.FromImageDigest}}' "$2"
}

bytes_of() { buildah images --format '{{.Size}}' "$1"; }

[ "$(id -u)" -eq 0 ] || fail "run this as root: mmdebstrap and buildah need it"
install_tools
make_base
for target in gateway tier-cpu; do
  name=localhost/diptych-$target:$tag
  first=$(build "$target" "$name")
  [ "$first" = "$(build "$target" "$name")" ] || fail "$name is not reproducible: two builds have two digests"
  say "$name  $(bytes_of "$name")  $first"
done
scripts/images_smoke.sh "$tag"
