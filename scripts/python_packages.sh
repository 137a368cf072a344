# shellcheck shell=bash
# Sourced: install_python_packages FOLDER PACKAGE…, pip's options among them, makes FOLDER with these packages. With uv, which takes a sixth of
# pip's processor time; with pip where uv cannot be had or fails, or where pip is told to use another index. QUIET=--quiet for no progress.
uv=.deps/uv/bin/uv
uv_package='uv==0.13.9'

pip_into() {
  local folder=$1
  shift
  # shellcheck disable=SC2086  # QUIET is an option or nothing
  PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install ${QUIET:-} --disable-pip-version-check --root-user-action=ignore --no-compile --target "$folder" "$@"
}

# True if there is an uv to use; fetches it the first time.
have_uv() {
  [ "$(cat .deps/uv/.installed 2>/dev/null)" = "$uv_package" ] && return
  if python3 -m pip config list 2>/dev/null | grep -q 'index-url'; then return 1; fi
  rm -rf .deps/uv .deps/uv.partial
  QUIET=--quiet pip_into .deps/uv.partial --no-deps "$uv_package" >/dev/null 2>&1 || return 1
  mv .deps/uv.partial .deps/uv
  echo "$uv_package" >.deps/uv/.installed
}

install_python_packages() {
  local folder=$1
  rm -rf "$folder"
  # shellcheck disable=SC2086
  if have_uv && "$uv" pip install ${QUIET:-} --system-certs --cache-dir .deps/uv/cache --python python3 --target "$@"; then return; fi
  rm -rf "$folder"
  pip_into "$@"
}
