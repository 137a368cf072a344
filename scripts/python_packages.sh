# shellcheck shell=bash
# Sourced: install_python_packages FOLDER PACKAGE…, pip's options among them, makes FOLDER with these packages. With uv, which takes a sixth of
# pip's processor time; with pip where uv cannot be had or fails, or where pip is told which index to use, of which uv knows nothing.
uv_package='uv==0.13.9'
uv_usable=  # yes or no, once that is known

pip_into() {
  local folder=$1
  shift
  PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --disable-pip-version-check --root-user-action=ignore --no-compile --target "$folder" "$@"
}

# Into .deps/uv, once, also where several want it at the same time.
fetch_uv() {
  mkdir -p .deps || return
  (
    flock 9
    [ "$(cat .deps/uv/.installed)" = "$uv_package" ] && exit
    rm -rf .deps/uv .deps/uv.partial
    pip_into .deps/uv.partial --no-deps --only-binary=:all: "$uv_package" && echo "$uv_package" >.deps/uv.partial/.installed &&
      mv .deps/uv.partial .deps/uv
  ) >/dev/null 2>&1 9>.deps/uv.lock
}

have_uv() {
  if [ -z "$uv_usable" ]; then
    uv_usable=no
    [[ $(python3 -m pip config list 2>/dev/null) == *index* ]] || ! fetch_uv || uv_usable=yes
  fi
  [ "$uv_usable" = yes ]
}

# uv_install PYTHON ARGUMENT…
uv_install() { .deps/uv/bin/uv pip install --system-certs --cache-dir .deps/uv/cache --python "$@"; }

install_python_packages() {
  local folder=$1
  rm -rf "$folder"
  # By its path: "python3" is any Python 3 for uv, first of all that of a .venv here.
  if have_uv && uv_install "$(command -v python3)" --target "$@"; then return; fi
  rm -rf "$folder"
  pip_into "$@"
}

# install_into_environment FOLDER PACKAGE…: the same for a virtual environment that exists.
install_into_environment() {
  local python=$1/bin/python
  shift
  if have_uv && uv_install "$python" --quiet "$@"; then return; fi
  "$python" -m pip install --quiet --disable-pip-version-check "$@"
}
