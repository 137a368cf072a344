# A thin front over CMake presets and scripts/. Each target installs and builds what it needs by itself.
#
# Variables: MODEL=dir or ORG/NAME DTYPE=auto DEVICE=cpu VISION_REPLICAS=1 LANGUAGE_REPLICAS=1 TORCH_ROOT=dir

SHELL := /bin/bash
export TORCH_ROOT MODEL DTYPE DEVICE VISION_REPLICAS LANGUAGE_REPLICAS

.PHONY: help demo serve test build bench parity lint package package-test examples asan tsan fuzz faults overload reliability soak images clean

help:           ## this list
	@awk -F ':|## ' '/^[a-z-]+:.*## / { name = $$1; sub(/.*## /, ""); printf "  make %-12s %s\n", name, $$0 }' $(MAKEFILE_LIST)

demo: build     ## install, build, ask the bundled model about a bundled image, stop
	@scripts/demo.sh

serve: build    ## the same, but stay up until Ctrl-C
	@scripts/serve.sh

test:           ## install, build everything, run every test that needs no GPU
	@scripts/run_tests.sh $(CTEST_ARGUMENTS)

build: setup    ## install and build the four binaries and the Python client
	@scripts/build.sh release gateway vision_service language_service diptych diptych_python

.PHONY: setup
setup:          ## install system packages and libtorch
	@scripts/setup.sh

bench: build    ## measure for some minutes; writes a report into build/bench/; RIVALS=1: also beside other engines, at full size without MODEL
	@scripts/build.sh release decode_throughput vision_times mixed_load gateway_latency token_delivery step_gap wire_times two_tiers
	@scripts/bench.sh
	@[ -z "$(RIVALS)" ] || scripts/rivals.sh $(if $(MODEL),"$(MODEL)")

parity: setup   ## compare live with a pinned transformers
	@scripts/parity.sh

lint: setup     ## formatting, layering, protos, shell scripts, clang-tidy
	@scripts/lint.sh

package:        ## a Python wheel, a tarball and a Debian package, into dist/
	@scripts/setup.sh --packages
	@scripts/build.sh release gateway vision_service language_service diptych diptych_python
	@scripts/package.sh

package-test: package ## install each into a bare Debian and Ubuntu and ask there (as root)
	@python3 tests/packages/package_test.py dist "$$(sed -n 's/^TORCH_ROOT:PATH=//p' build/release/CMakeCache.txt)"

examples: build ## build the clients of examples/ in their languages and run them
	@scripts/examples.sh

asan: setup     ## unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/build.sh asan
	@ctest --preset asan
	@scripts/skipped.sh build/asan/Testing/Temporary/LastTest.log

tsan: setup     ## unit tests under ThreadSanitizer
	@scripts/build.sh tsan
	@ctest --preset tsan
	@scripts/skipped.sh build/tsan/Testing/Temporary/LastTest.log

fuzz: setup     ## each fuzz target for FUZZ_SECONDS=60
	@scripts/fuzz.sh

faults: build   ## break processes, networks and disks around the servers, with three seeds (10 minutes)
	@scripts/faults.sh

overload: build ## three times as many questions as can be answered, a key that floods, 500 callers that trickle, 2,000 at once (4 minutes)
	@scripts/overload.sh

reliability:    ## what faults, overload and fuzzing measured last, into the tables of docs/reliability.md
	@python3 tools/make_reliability.py

soak: build     ## mixed load for MINUTES=60: memory, descriptors, threads and blocks must not creep
	@python3 tests/load/soak_test.py build/release/bin --minutes="$(or $(MINUTES),60)"

images: build   ## container images, with buildah; asks a question through them (root)
	@scripts/images.sh

.PHONY: rollout-test
rollout-test: build ## the chart's pods come and go under load, as processes of this machine (root; 4 minutes)
	@tests/cluster/setup.sh
	@tests/cluster/in_namespaces.sh rollout_test.py

.PHONY: cluster-test
cluster-test: build ## the chart under a real Kubernetes control plane on this machine (root; 8 minutes, and 15 of a core to build it once)
	@scripts/cluster_test.sh

.PHONY: keda-test
keda-test: build ## the chart under KEDA's own operator, likewise (root; 5 minutes, and 20 of a core more to build it once)
	@scripts/cluster_test.sh keda_test.py

clean:          ## remove what was built; keeps .deps
	@rm -rf build
