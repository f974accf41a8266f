# What is run rather than built: deps, test, demo, bench, fuzz. Part of the top Makefile.

PYTHON := $(shell for p in python3 /usr/bin/python3; do $$p -c 'import yaml' >/dev/null 2>&1 && echo $$p && break; done)

.PHONY: deps unit-programs control-plane test swap soak demo bench bench-kustomize fuzz fuzz-replay

deps: # the top Makefile did it
	@echo "all packages are there"

unit-programs: $(UNIT_PROGRAMS)

control-plane:
	@tests/cluster/build etcd kube-apiserver kube-controller-manager >/dev/null

test:
	+@MAKE='$(MAKE)' $(PYTHON) tests/suite.py

# Flux's own controllers replaced by ours and back; it builds them once.
swap: all
	@$(PYTHON) -m pytest -q -p no:cacheprovider tests/e2e/long_swap.py

# The long run: the swap, ten minutes each of random kills and of connections that break, and what takes long (see tests/e2e/long_runtime.py).
soak: swap
	@$(PYTHON) -m pytest -q -s -p no:cacheprovider tests/e2e/long_runtime.py
	@WEIR_CHAOS_SECONDS=600 WEIR_SOAK_SECONDS=600 $(PYTHON) -m pytest -q -s -p no:cacheprovider -k "random_kills or soak" tests/e2e/test_faults.py tests/e2e/test_connection.py

# The visitor sees the tour, not the compiler. The first time the control plane's sources come over the net meanwhile, which is what the one job more is for.
demo:
	@$(MAKE) --quiet --question all 2>/dev/null || { echo "building weir"; \
	        $(MAKE) --no-print-directory -j$$(($$(nproc) + 1)) SAY=@: all $(if $(KUBECONFIG)$(KUBEBUILDER_ASSETS),,control-plane); }
	@$(PYTHON) tests/demo/demo.py

bench: all
	@$(PYTHON) tests/bench/bench.py $(BENCH)

bench-kustomize: all
	@$(PYTHON) tests/bench/kustomize.py $(BENCH)

# Fuzz targets: tests/fuzz/fuzz_NAME.c, linked with the library as clang builds it under MODE=asan, and tests/fuzz/corpus/NAME/ beside it.
FUZZ_SECONDS  ?= 600
FUZZ_SOURCES  := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_PROGRAMS := $(FUZZ_SOURCES:%.c=$(OBJECTS)/%)
$(OBJECTS)/tests/fuzz/%: $(OBJECTS)/tests/fuzz/%.o $(OBJECTS)/libshared.a
	$(CC) $(CFLAGS) $(LINK) -fsanitize=fuzzer $^ -o $@ $(LDFLAGS) $(PACKAGE_LIBS)

fuzz-programs: $(FUZZ_PROGRAMS)

# Replays the corpora: every input once. fuzz looks for new ones, each target for FUZZ_SECONDS, and keeps them under build/.
fuzz-replay:
	@$(MAKE) --no-print-directory CC=clang MODE=asan BUILD=$(BUILD)/clang CFLAGS=-fsanitize=fuzzer-no-link fuzz-programs
	@tests/fuzz/run replay $(BUILD)/clang/asan/tests/fuzz

fuzz:
	@$(MAKE) --no-print-directory CC=clang MODE=asan BUILD=$(BUILD)/clang CFLAGS=-fsanitize=fuzzer-no-link fuzz-programs
	@tests/fuzz/run search $(BUILD)/clang/asan/tests/fuzz $(FUZZ_SECONDS)
