# weir: build, test, demo, bench, install. No recursion, but where a test builds everything again in another way.
#
#   make                release binaries into build/bin
#   make test           everything: unit tests (plain and sanitized), end to end on a real control plane
#   make unit           the unit tests alone; MODE=asan or MODE=tsan for the sanitized ones
#   make soak           the long run, two hours: make swap, a thousand Kustomizations, SOAK_SECONDS of faults (45 minutes; 86400 is a day), ten minutes each of nothing and of kills
#   make swap           Flux's own controllers replaced by ours and back, on one control plane
#   make demo           a throw-away cluster kept equal to a Git repository
#   make bench          figures, beside those of the reference; BENCH='--count 1000' for the slope
#   make bench-kustomize  the same of kustomize builds
#   make install        into DESTDIR/PREFIX/bin
#   make check-headers  every header alone, under the strictest flags
#   make manifests      manifests/install.yaml and crds.yaml from their sources
#   make fuzz           looks for inputs that break a parser, FUZZ_SECONDS for each
#   make fuzz-replay    every input of the checked-in corpora, once
#   make format         the layout of clang-format 14 (Debian 12); later ones differ in details
#   make lint           that layout, and what clang-tidy finds: minutes at first, then what changed
#   make clean          removes build/
#
# MODE=release (default), MODE=asan (address and undefined behaviour), MODE=tsan (threads). Each mode has its own object folder.
# For another machine: PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig make CC=aarch64-linux-gnu-gcc AR=aarch64-linux-gnu-ar BUILD=build/arm64

MODE    ?= release
BUILD   ?= build
PREFIX  ?= /usr/local
VERSION ?= 0.1.0
# A line for each file; each command in full with V=1.
Q   := $(if $(V),,@)
SAY := $(if $(V),@:,@echo)
# Of this folder, not of one around it, and also for root in the checkout of somebody else: make install.
COMMIT  ?= $(shell git --git-dir=.git rev-parse --short=7 HEAD 2>/dev/null || echo 0000000)

# The folder of a controller is the list of its files. One with a command.c is two programs: a small one that holds its commands and
# becomes the other, NAME-manager, for anything else (see README.md).
CONTROLLERS := $(sort $(patsubst %/,%,$(dir $(wildcard *-controller/*.c))))
COMMANDS    := $(patsubst %/command.c,%,$(wildcard *-controller/command.c))
BINARIES    := $(sort $(COMMANDS:%=$(BUILD)/bin/%) $(foreach c,$(CONTROLLERS),$(BUILD)/bin/$(c)$(if $(filter $(c),$(COMMANDS)),-manager)))
LIBRARY_SOURCES := $(sort $(wildcard libshared/*/*.c) $(wildcard libshared/engine/*/*.c))
UNIT_SOURCES    := $(sort $(wildcard tests/unit/*/test_*.c) $(wildcard tests/unit/engine/*/test_*.c))
HEADERS         := $(sort $(wildcard libshared/*/*.h) $(wildcard libshared/engine/*/*.h) $(wildcard *-controller/*.h))
FORMATTED       := $(LIBRARY_SOURCES) $(UNIT_SOURCES) $(HEADERS) $(sort $(wildcard *-controller/*.c tests/unit/*.h tests/unit/*/*.h tests/fuzz/*.[ch]))

PACKAGES := libcurl json-c yaml-0.1 libgit2 libssh libmicrohttpd libarchive libpcre2-8 openssl zlib
OBJECTS  := $(BUILD)/$(MODE)

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wundef -Wvla -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
            -Wwrite-strings -Wpointer-arith -Wimplicit-fallthrough -Wno-missing-field-initializers
# The commit is part of the file that prints it, not of every object; paths are mapped, so the same tree gives the same bytes anywhere.
FLAGS    := -std=gnu17 -g -fno-omit-frame-pointer -fvisibility=hidden '-ffile-prefix-map=$(CURDIR)=.' -D_GNU_SOURCE -DWEIR_VERSION='"$(VERSION)"' \
            -Ilibshared $(WARNINGS)
ifeq ($(MODE),release)
# Until its version 16 clang wants to be told twice that autos start as zero.
ZERO_AUTOS := -ftrivial-auto-var-init=zero
ZERO_AUTOS += $(if $(shell $(CC) $(ZERO_AUTOS) -fsyntax-only -x c /dev/null 2>&1 || echo no),-enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang)
FLAGS    += -O2 -fPIE -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2 $(ZERO_AUTOS) -ffunction-sections -fdata-sections
LINK     := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--gc-sections -Wl,--as-needed -Wl,--build-id=sha1
COMMAND_LINK := -static-pie $(filter-out -pie,$(LINK))
else ifeq ($(MODE),asan)
FLAGS    += -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
LINK     := -fsanitize=address,undefined -Wl,--as-needed
else ifeq ($(MODE),tsan)
FLAGS    += -O1 -fsanitize=thread
LINK     := -fsanitize=thread -Wl,--as-needed
else
$(error MODE is release, asan or tsan, not '$(MODE)')
endif

# What runs weir rather than builds it first installs the packages that it needs, or says the line that does.
NEEDS := $(if $(filter deps test swap soak bench bench-kustomize fuzz,$(MAKECMDGOALS)),test,$(if $(filter demo,$(MAKECMDGOALS)),demo,$(if \
           $(filter lint format,$(MAKECMDGOALS)),lint)))
ifneq ($(NEEDS),)
SAID  := $(shell tests/packages.sh $(NEEDS))
$(if $(filter-out 0,$(.SHELLSTATUS)),$(error $(or $(SAID),the packages that weir needs could not be installed)))
endif

PACKAGE_FLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PACKAGE_LIBS  := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lpthread -lm
COMMAND_LINK  ?= $(LINK)
COMMAND_LIBS  := $(shell pkg-config --libs --static yaml-0.1 libpcre2-8 2>/dev/null) -lm

ifneq ($(filter-out help format manifests clean,$(or $(MAKECMDGOALS),all)),)
UNIT_PACKAGES := $(if $(filter unit unit-programs,$(MAKECMDGOALS)),cmocka)
ifneq ($(shell pkg-config --atleast-version=1.8 libgit2 2>/dev/null && pkg-config --exists $(PACKAGES) $(UNIT_PACKAGES) 2>/dev/null && echo yes),yes)
$(error weir's libraries are not all there: as root, run '$(CURDIR)/tests/packages.sh $(if $(UNIT_PACKAGES),test,build)', and then this again)
endif

# What is built depends on these files too, written when what they hold changes: a compiler, a flag, a library, the commit.
FLAVOUR := $(strip $(CC) $(shell $(CC) -dumpfullversion 2>/dev/null) $(CPPFLAGS) $(FLAGS) $(CFLAGS) $(LINK) $(LDFLAGS) $(shell pkg-config --modversion $(PACKAGES)))
ifneq ($(file <$(OBJECTS)/flavour),$(FLAVOUR))
$(shell mkdir -p $(OBJECTS))
$(file >$(OBJECTS)/flavour,$(FLAVOUR))
endif
ifneq ($(file <$(OBJECTS)/commit),$(COMMIT))
$(file >$(OBJECTS)/commit,$(COMMIT))
endif
endif

.PHONY: all lib unit check-headers manifests install format lint clean help
.DELETE_ON_ERROR:
.SECONDARY:

all: $(BINARIES)

lib: $(OBJECTS)/libshared.a

$(OBJECTS)/%.o: %.c Makefile $(OBJECTS)/flavour
	@mkdir -p $(@D)
	$(SAY) "compile $<"
	$(Q)$(CC) $(CPPFLAGS) $(FLAGS) $(PACKAGE_FLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(OBJECTS)/libshared/kube/client.o: CPPFLAGS += -DWEIR_COMMIT='"$(COMMIT)"'
$(OBJECTS)/libshared/kube/client.o: $(OBJECTS)/commit

$(OBJECTS)/libshared.a: $(LIBRARY_SOURCES:%.c=$(OBJECTS)/%.o)
	@rm -f $@
	$(Q)$(AR) rcsD $@ $^

# Everything of a controller but its mains is an archive, which the program and the controller's unit tests are linked with.
define controller_rules
$(1)_OBJECTS := $$(patsubst %.c,$$(OBJECTS)/%.o,$$(sort $$(filter-out %/main.c %/command.c,$$(wildcard $(1)/*.c))))
$$(OBJECTS)/$(1).a: $$($(1)_OBJECTS)
	@rm -f $$@
	$$(Q)$$(AR) rcsD $$@ $$^
$$(OBJECTS)/bin/$(1)$(if $(filter $(1),$(COMMANDS)),-manager): $$(OBJECTS)/$(1)/main.o $$(OBJECTS)/$(1).a $$(OBJECTS)/libshared.a
	@mkdir -p $$(@D)
	$$(SAY) "link $$@"
	$$(Q)$$(CC) $$(CFLAGS) $$(LINK) $$^ -o $$@ $$(LDFLAGS) $$(PACKAGE_LIBS)
$$(OBJECTS)/tests/unit/$(1)/%: $$(OBJECTS)/tests/unit/$(1)/%.o $$(OBJECTS)/$(1).a $$(OBJECTS)/libshared.a
	$$(SAY) "link $$@"
	$$(Q)$$(CC) $$(CFLAGS) $$(LINK) $$^ -o $$@ $$(LDFLAGS) $$(PACKAGE_LIBS) -lcmocka
endef
$(foreach c,$(CONTROLLERS),$(eval $(call controller_rules,$(c))))

# Commands are up in a millisecond: few libraries, and in a release inside the program, which saves the dynamic loader.
$(COMMANDS:%=$(OBJECTS)/bin/%): $(OBJECTS)/bin/%: $(OBJECTS)/%/command.o $(OBJECTS)/libshared.a
	@mkdir -p $(@D)
	$(SAY) "link $@"
	$(Q)$(CC) $(CFLAGS) $(COMMAND_LINK) $^ -o $@ $(LDFLAGS) $(COMMAND_LIBS)

ifeq ($(MODE),release)
$(BUILD)/bin/%: $(OBJECTS)/bin/%
	@mkdir -p $(@D)
	$(Q)cp --remove-destination $< $@
endif

# Unit tests: one program per room, linked with the library (and the controller whose folder they are named after).
UNIT_PROGRAMS := $(UNIT_SOURCES:%.c=$(OBJECTS)/%)
$(OBJECTS)/tests/unit/%: $(OBJECTS)/tests/unit/%.o $(OBJECTS)/libshared.a
	$(SAY) "link $@"
	$(Q)$(CC) $(CFLAGS) $(LINK) $^ -o $@ $(LDFLAGS) $(PACKAGE_LIBS) -lcmocka

unit: $(UNIT_PROGRAMS)
	@tests/unit/run $(OBJECTS)/tests/unit $(UNIT_PROGRAMS)

HEADER_CHECK := -std=gnu17 -fsyntax-only -Wall -Wextra -Wpedantic -Werror -Wconversion -Wmissing-declarations -D_GNU_SOURCE -Ilibshared
check-headers:
	@set -e; for h in $(HEADERS); do printf '#include "%s"\nextern int alone;\n' "$$h" | $(CC) $(HEADER_CHECK) -I. $(PACKAGE_FLAGS) -x c -; done; echo "check-headers: $(words $(HEADERS)) headers"

# What a user applies, from the files beside it. Both are checked in; a unit test holds them against their sources.
manifests:
	manifests/assemble install v$(VERSION) >manifests/install.yaml
	manifests/assemble crds v$(VERSION) >manifests/crds.yaml

install: all
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 0755 $(BINARIES) "$(DESTDIR)$(PREFIX)/bin"

format:
	$(Q)clang-format -i $(FORMATTED)

# clang-tidy takes seconds for a file, so what is clean is remembered until the file, a header of it or the rules change; -k goes on past findings.
LINTED := $(patsubst %.c,$(OBJECTS)/%.lint,$(LIBRARY_SOURCES) $(wildcard *-controller/*.c))
$(OBJECTS)/%.lint: %.c $(OBJECTS)/%.o .clang-tidy
	$(SAY) "lint $<"
	$(Q)clang-tidy --quiet $< -- $(filter-out $(ZERO_AUTOS),$(FLAGS)) $(PACKAGE_FLAGS) 2>$@.said || { cat $@.said >&2; exit 1; }
	$(Q)mv $@.said $@

lint:
	$(Q)clang-format --dry-run --Werror $(FORMATTED)
	+$(Q)$(MAKE) --no-print-directory -k -j$$(nproc) $(LINTED)
	@echo "lint: $(words $(FORMATTED)) files laid out, $(words $(LINTED)) without findings"

clean:
	$(Q)rm -rf $(BUILD)

# The list at the top of this file.
help:
	@sed -n '/^#  /s/^# *//p' Makefile

-include $(LIBRARY_SOURCES:%.c=$(OBJECTS)/%.d) $(patsubst %.c,$(OBJECTS)/%.d,$(wildcard *-controller/*.c)) $(UNIT_SOURCES:%.c=$(OBJECTS)/%.d)
-include tests/tests.mk
