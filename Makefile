# spacetime-pg: build, run, test. `make help` lists the targets; V=1 shows the commands.
#
#   make          build/bin/spacetime, build/bin/spacetimedb-host, build/bin/spacetimedb-worker
#   make run      install what is missing, build, start a host, publish the chat example, show it
#   make test     install what is missing, run every test
SHELL := /bin/bash
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules

BUILD   ?= build
CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
VERSION := 0.1.0
WARN    := -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wno-unused-parameter $(if $(findstring clang,$(CC)),,-Wno-format-truncation)
OPT     ?= -O2 -g
CFLAGS_ALL = -std=gnu11 $(OPT) $(WARN) -fno-omit-frame-pointer -fstack-protector-strong -D_GNU_SOURCE -DSPACETIME_VERSION='"$(VERSION)"' \
             -I. -I/usr/include/postgresql $(CFLAGS_EXTRA)
LIBS      = -luv -lmicrohttpd -lwslay -lpq -lcurl -lssl -lcrypto -ljansson -lseccomp -lz -ledit -ldl -lpthread -lm
LDFLAGS_ALL = -Wl,--as-needed $(LDFLAGS_EXTRA)
Q := $(if $(V),,@)
# What a single command builds, it builds on all cores, unless make was given a number.
JOBS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

ROOMS := base schema engine query worker storage net wire
ROOM_SRC := $(foreach r,$(ROOMS),$(wildcard host/$(r)/*.c))
LIB_SRC  := $(filter-out host/worker/main.c,$(ROOM_SRC)) $(filter-out host/main.c,$(wildcard host/*.c))
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/obj/%.o)
CLI_OBJ  := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard cli/*.c))
UNIT_SRC := $(wildcard tests/unit/*_test.c)
UNIT_BIN := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/%)
TOOL_SRC := $(wildcard tests/bench/*.c)
SIM_OBJ  := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/sim/*.c))
BIN      := $(BUILD)/bin/spacetime $(BUILD)/bin/spacetimedb-host $(BUILD)/bin/spacetimedb-worker

.PHONY: all help deps run demo test unit sim soak bench fuzz asan tsan lint format format-check install uninstall clean
all: $(BIN) ## build everything

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' Makefile | expand -t 18
	@echo
	@echo 'V=1 shows the commands; BUILD=DIR builds elsewhere; CC=clang with another compiler; OPT="-O0 -g" with other options.'

deps: ## install the Debian packages that are missing
	@packaging/install-deps.sh build

run: ## install, build, start a host on its own PostgreSQL, publish the chat example, show it, stay up
	@packaging/install-deps.sh build run
	@$(MAKE) --no-print-directory $(JOBS) all
	@BUILD=$(BUILD) packaging/demo.sh run

demo: ## the same show, then stop everything
	@packaging/install-deps.sh build run
	@$(MAKE) --no-print-directory $(JOBS) all
	@BUILD=$(BUILD) packaging/demo.sh demo

test: ## install what is missing, then every test
	@packaging/install-deps.sh build run test
	@$(MAKE) --no-print-directory $(JOBS) all unit-bins tools
	@BUILD=$(BUILD) SANITIZED=$(SANITIZED) tests/run.sh $(T)

.PHONY: unit-bins tools
unit-bins: $(UNIT_BIN)
unit: all unit-bins ## only the unit tests (T=name for one)
	@BUILD=$(BUILD) SANITIZED=$(SANITIZED) tests/run.sh unit $(T)

# ---- compile ----
$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@$(if $(V),,echo "  CC    $<")
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

# One archive: each program takes only the objects that it names, so the worker links no libpq.
$(BUILD)/lib/libspacetime.a: $(LIB_OBJ)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar qcs $@ $^

$(BUILD)/bin/spacetime: $(CLI_OBJ) $(BUILD)/lib/libspacetime.a
	@mkdir -p $(@D)
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
$(BUILD)/bin/spacetimedb-host: $(BUILD)/obj/host/main.o $(BUILD)/lib/libspacetime.a
	@mkdir -p $(@D)
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
$(BUILD)/bin/spacetimedb-worker: $(BUILD)/obj/host/worker/main.o $(BUILD)/lib/libspacetime.a
	@mkdir -p $(@D)
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -rdynamic -o $@ $^ -lseccomp -ldl -lpthread -lm

$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(BUILD)/lib/libspacetime.a
	@mkdir -p $(@D)
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) -lcmocka

# ---- tools of the tests: one program a file in tests/bench, and the simulator ----
TOOL_BIN := $(foreach s,$(TOOL_SRC),$(BUILD)/tests/tools/$(basename $(notdir $(s))))
tools: $(TOOL_BIN) $(BUILD)/tests/tools/sim
$(BUILD)/tests/tools/sim: $(SIM_OBJ) $(BUILD)/lib/libspacetime.a
	@mkdir -p $(@D)
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
define TOOL_RULE
$(BUILD)/tests/tools/$(basename $(notdir $(1))): $(BUILD)/obj/$(1:.c=.o) $(BUILD)/lib/libspacetime.a
	@mkdir -p $$(@D)
	@$$(if $(V),,echo "  LINK  $$@")
	$(Q)$$(CC) $$(CFLAGS_ALL) $$(LDFLAGS_ALL) -o $$@ $$^ $$(LIBS)
endef
$(foreach s,$(TOOL_SRC),$(eval $(call TOOL_RULE,$(s))))

sim: $(BUILD)/tests/tools/sim ## the simulator, many seeds
	$(BUILD)/tests/tools/sim --rounds 2000
soak: ## random migrations, 2,000 publishes (MIGRATION_ROUNDS, MIGRATION_SEED), and the simulator for long
	@packaging/install-deps.sh build run test
	@$(MAKE) --no-print-directory $(JOBS) all tools
	@[ -d tests/clients/node_modules/spacetimedb ] || (cd tests/clients && npm ci --no-audit --no-fund >/dev/null)
	@BUILD=$(BUILD) MIGRATION_ROUNDS=$${MIGRATION_ROUNDS:-2000} node tests/integration/migration_random_test.mjs
	@$(BUILD)/tests/tools/sim --rounds 20000
bench: ## figures as ratios within one run, against what users would pick instead
	@packaging/install-deps.sh build run test
	@$(MAKE) --no-print-directory $(JOBS) all tools $(BUILD)/tests/query_views_test
	@BUILD=$(BUILD) tests/bench/run.sh

# ---- sanitizers, fuzzing, lint ----
asan: ## every test under the address and undefined-behaviour sanitizers
	@packaging/install-deps.sh build run test
	$(MAKE) test BUILD=build/asan OPT='-O1 -g' CFLAGS_EXTRA='-fsanitize=address,undefined -fno-sanitize-recover=all' SANITIZED=1
tsan: ## every test under the thread sanitizer
	@packaging/install-deps.sh build run test
	$(MAKE) test BUILD=build/tsan OPT='-O1 -g' CFLAGS_EXTRA='-fsanitize=thread' SANITIZED=1
# A target is tests/fuzz/NAME_fuzz.c; tests/fuzz/corpus/NAME holds what it starts from. What it finds stays in build/fuzz/corpus.
FUZZ := $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZ_SECONDS ?= 30
$(BUILD)/lib/libcli.a: $(filter-out $(BUILD)/obj/cli/main.o,$(CLI_OBJ))
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar qcs $@ $^
$(BUILD)/bin/%_fuzz: $(BUILD)/obj/tests/fuzz/%_fuzz.o $(BUILD)/lib/libcli.a $(BUILD)/lib/libspacetime.a
	@mkdir -p $(@D)
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(CC) $(CFLAGS_ALL) -fsanitize=fuzzer $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
.PHONY: fuzz-bins
fuzz-bins: $(addprefix $(BUILD)/bin/,$(addsuffix _fuzz,$(if $(T),$(T),$(FUZZ))))
fuzz: ## every fuzz target for FUZZ_SECONDS (T=name for one)
	@packaging/install-deps.sh build test
	@$(MAKE) --no-print-directory $(JOBS) fuzz-bins BUILD=build/fuzz CC=clang OPT='-O1 -g' \
	  CFLAGS_EXTRA='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all'
	@cd build/fuzz && for name in $(or $(T),$(FUZZ)); do \
	  seeds=$(CURDIR)/tests/fuzz/corpus/$$name; mkdir -p corpus/$$name; \
	  echo "fuzz $$name for $(FUZZ_SECONDS) s"; \
	  bin/$${name}_fuzz -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix=$$name- \
	    corpus/$$name $$([ ! -d $$seeds ] || echo $$seeds) >$$name.log 2>&1 || { tail -40 $$name.log; exit 1; }; \
	  grep number_of_executed_units $$name.log; done
# Not laid out by the tool: the header's macro tables, the examples that the header's texts quote, the wrong modules.
C_FILES = $(shell git ls-files 'host/*.[ch]' 'cli/*.[ch]' 'tests/*.[ch]' | grep -v '^tests/sdk/\|/modules/\|^tests/integration/once.c')
lint: ## static analysis, include rules, every header alone, both compilers
	@packaging/install-deps.sh build test
	@tests/lint.sh
format: ## lay out every C file
	clang-format -i $(C_FILES)
format-check: ## is every C file laid out so?
	@clang-format --dry-run --Werror $(C_FILES)

# ---- install ----
PREFIX ?= /usr/local
MANDIR ?= $(PREFIX)/share/man
INSTALLED = $(addprefix $(PREFIX)/,bin include/spacetime-pg share/spacetime-pg/sql share/bash-completion/completions) $(MANDIR)/man1
install: all ## into PREFIX (default /usr/local), DESTDIR honoured
	install -d $(addprefix $(DESTDIR),$(INSTALLED))
	install -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin
	install -m 644 sdk/*.h $(DESTDIR)$(PREFIX)/include/spacetime-pg
	install -m 644 sql/*.sql $(DESTDIR)$(PREFIX)/share/spacetime-pg/sql
	install -m 644 packaging/completions/spacetime.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/spacetime
	install -m 644 packaging/man/*.1 $(DESTDIR)$(MANDIR)/man1
uninstall: ## what install put there
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(notdir $(BIN)))
	rm -rf $(DESTDIR)$(PREFIX)/include/spacetime-pg $(DESTDIR)$(PREFIX)/share/spacetime-pg
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/spacetime
	rm -f $(addprefix $(DESTDIR)$(MANDIR)/man1/,$(notdir $(wildcard packaging/man/*.1)))
clean: ## remove build/
	rm -rf build

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
