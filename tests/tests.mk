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

# The long run: the swap, what takes long (long_runtime.py), faults while both controllers are measured (long_soak.py), random kills. Each part ends in time, and
# the others run if one fails. SOAK_SECONDS=86400 is a day of faults.
SOAK_SECONDS ?= 2700
LONG_TEST    := $(PYTHON) -m pytest -q -s -p no:cacheprovider
soak: all
	@failed=; \
	timeout -k 30 1800 $(LONG_TEST) tests/e2e/long_swap.py || failed="$$failed long_swap"; \
	timeout -k 30 5400 $(LONG_TEST) tests/e2e/long_runtime.py || failed="$$failed long_runtime"; \
	WEIR_SOAK_SECONDS=$(SOAK_SECONDS) timeout -k 30 $$(($(SOAK_SECONDS) + 900)) $(LONG_TEST) tests/e2e/long_soak.py || failed="$$failed long_soak"; \
	WEIR_CHAOS_SECONDS=600 timeout -k 30 1200 $(LONG_TEST) -k random_kills tests/e2e/test_faults.py || failed="$$failed random_kills"; \
	if [ "$$failed" ]; then echo "failed:$$failed"; exit 1; fi

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
