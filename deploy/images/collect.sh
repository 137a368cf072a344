#!/bin/bash
# Collects programs and the shared libraries that they load into a root file system.
#
#   collect.sh [--cuda] FOLDER PROGRAM…    run in the source folder, with the programs in build/release/bin
#
# --cuda also takes what libtorch opens on a GPU machine. FOLDER/opt/diptych/share/sbom.cdx.json lists what came from where.
set -euo pipefail
cuda=
if [ "$1" = --cuda ]; then cuda=1; shift; fi
out=$1
shift
home=$out/opt/diptych
torch=.deps/torch
mkdir -p "$home"/{bin,lib,share/diptych/models} "$out"/{etc/ssl/certs,lib64,tmp,models}
LD_LIBRARY_PATH=$(find "$PWD/$torch" -name '*.so*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd:)
export LD_LIBRARY_PATH

# libraries PROGRAM…: the files that the loader takes for them.
libraries() {
  if ldd "$@" | grep 'not found' >&2; then exit 1; fi
  ldd "$@" | grep -o '/[^ ]*\.so[^ ]*' | sort -u
}

programs=("${@/#/build/release/bin/}")
mapfile -t loaded < <(libraries "${programs[@]}")
for program in "${programs[@]}"; do install -s -m 755 "$program" "$home/bin/"; done
if [ -n "$cuda" ]; then mapfile -t -O "${#loaded[@]}" loaded < <(find "$PWD/$torch" -name '*.so*' | sort); fi
for library in "${loaded[@]}"; do
  case $library in
    */ld-linux-*) cp -L "$library" "$out/lib64/" ;;
    *) cp -L "$library" "$home/lib/" ;;
  esac
done
if [[ " $* " == *_service* ]]; then cp -r models/demo "$home/share/diptych/models/"; fi
[ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp -L /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/"

echo 'diptych:x:65532:65532::/tmp:/sbin/nologin' >"$out/etc/passwd"
echo 'diptych:x:65532:' >"$out/etc/group"
echo 'hosts: files dns' >"$out/etc/nsswitch.conf"
echo /opt/diptych/lib >"$out/etc/ld.so.conf"
ldconfig -r "$out" -X
rm -rf "${out:?}/var"
chmod 1777 "$out/tmp"

# shellcheck disable=SC1091  # the system's
. /etc/os-release
# component NAME VERSION PURL: one entry of the bill of materials.
component() { printf '{"type":"library","name":"%s","version":"%s","purl":"%s"}\n' "$1" "$2" "$3"; }

# packages: the Debian packages that own what was collected. dpkg lists a file with or without /usr.
packages() {
  for library in "${loaded[@]}"; do realpath "$library"; realpath "$library" | sed 's#^/usr##'; done |
    xargs dpkg-query -S 2>/dev/null | cut -d: -f1 | sort -u
}

# With release and source package, by which scanners look up what is known of a package.
components() {
  local package version source encoded folder
  while read -r package version source; do
    encoded=${version//:/%3A} source=${source//:/%3A}
    component "$package" "$version" \
      "pkg:deb/$ID/${package//+/%2B}@${encoded//+/%2B}?arch=amd64&distro=$ID-$VERSION_ID&upstream=${source//+/%2B}"
  done < <(
    # shellcheck disable=SC2016  # dpkg-query expands them
    packages | xargs dpkg-query -W -f='${Package} ${Version} ${source:Package}%40${source:Version}\n' | sort -u)
  [[ " ${loaded[*]} " == *"$torch"* ]] || return 0
  for folder in "$torch"/*.dist-info; do
    [ -e "$folder" ] || return 0
    package=$(basename "$folder" .dist-info)
    component "${package%-*}" "${package##*-}" "pkg:pypi/${package%-*}@${package##*-}"
  done
}
printf '{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"components":[%s]}\n' "$(components | paste -sd,)" \
  >"$home/share/sbom.cdx.json"
[[ " ${loaded[*]} " != *"$torch"* ]] || grep -q pkg:pypi/torch@ "$home/share/sbom.cdx.json" || { echo "libtorch's version is not known" >&2; exit 1; }
