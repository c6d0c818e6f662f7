# meshfs: one flat Makefile.  `make V=1` shows the commands; variants (debug, asan, tsan) build side by side.
#   make            build/meshfs              make check      unit tests
#   make asan tsan  the same under sanitizers  make fuzz       fuzz targets (clang)
#   make bench      build the bench helpers    make tidy format
#   make install    PREFIX, DESTDIR
VARIANT ?= release
PREFIX ?= /usr/local
DESTDIR ?=
CC ?= cc
V ?= 0
Q = $(if $(filter 1,$(V)),,@)

VERSION = 0.1.0
PACKAGES = fuse3 sqlite3 libxxhash libcurl libzstd libcrypto libfyaml libpcre2-8 zlib
ifeq ($(filter clean,$(MAKECMDGOALS)),)
ifneq ($(shell pkg-config --exists $(PACKAGES) && echo yes),yes)
$(error libraries are missing; run scripts/deps (pkg-config knows: $(foreach p,$(PACKAGES),$(if $(shell pkg-config --exists $(p) && echo y),,missing $(p)))))
endif
endif

WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wvla
ifdef CI
WARN += -Werror
endif
BASE_CFLAGS := -std=c11 -I. -D_FILE_OFFSET_BITS=64 -D_GNU_SOURCE -DMESHFS_VERSION='"$(VERSION)"' -fstack-protector-strong -pthread $(WARN) \
	$(shell pkg-config --cflags $(PACKAGES))
LIBS := $(shell pkg-config --libs $(PACKAGES)) -ldl -lm -pthread

CFLAGS_release = -O2 -g -D_FORTIFY_SOURCE=2
CFLAGS_debug = -O0 -g
CFLAGS_asan = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -Wno-format-truncation
CFLAGS_tsan = -O1 -g -fsanitize=thread -fno-omit-frame-pointer -Wno-tsan -Wno-format-truncation
CFLAGS_fuzz = -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
ifeq ($(VARIANT),fuzz)
CC = clang
endif
ALL_CFLAGS = $(BASE_CFLAGS) $(CFLAGS_$(VARIANT)) $(CFLAGS)
LDFLAGS_asan = -fsanitize=address,undefined
LDFLAGS_tsan = -fsanitize=thread
LDFLAGS_fuzz = -fsanitize=fuzzer,address,undefined
LDFLAGS_release = -Wl,-z,relro,-z,now

SRC := $(sort $(wildcard catalog/base/*.c catalog/store/*.c catalog/*.c policy/*.c fs/*.c))
OBJDIR = build/obj/$(VARIANT)
OBJ = $(SRC:%.c=$(OBJDIR)/%.o)
LIB = $(OBJDIR)/libmeshfs.a
LIBOBJ = $(filter-out $(OBJDIR)/fs/main.o,$(OBJ))
BIN = $(if $(filter release,$(VARIANT)),build/meshfs,build/meshfs-$(VARIANT))

UNIT := $(sort $(wildcard test/unit/test_*.c))
UNITBIN = $(UNIT:test/unit/%.c=build/test/$(VARIANT)/%)
FUZZ := $(sort $(wildcard test/fuzz/fuzz_*.c))
FUZZBIN = $(FUZZ:test/fuzz/%.c=build/fuzz/%)
BENCH := $(sort $(wildcard test/bench/*.c))
BENCHBIN = $(BENCH:test/bench/%.c=build/bench/%)

.PHONY: all check unit asan tsan fuzz bench tidy format install clean
.DELETE_ON_ERROR:
.SECONDARY:
all: $(BIN)

$(OBJDIR)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@$(if $(filter 1,$(V)),,echo "  CC      $< ($(VARIANT))")
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(LIB): $(LIBOBJ)
	@rm -f $@
	$(Q)ar rcsP $@ $^

$(BIN): $(OBJDIR)/fs/main.o $(LIB)
	@$(if $(filter 1,$(V)),,echo "  LINK    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS_$(VARIANT)) $(LDFLAGS) -o $@ $< $(LIB) $(LIBS)

# A test may stand in for a function of the library with one of its own: the first definition wins.
build/test/$(VARIANT)/%: $(OBJDIR)/test/unit/%.o $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS_$(VARIANT)) $(LDFLAGS) -Wl,-z,muldefs -o $@ $< $(LIB) $(LIBS)

# Allocations of the library go through the test, which has them fail; syncing costs time and shows nothing there.
build/test/$(VARIANT)/test_memory: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=strndup,--wrap=fsync,--wrap=fdatasync

build/bench/%: $(OBJDIR)/test/bench/%.o $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS_$(VARIANT)) $(LDFLAGS) -o $@ $< $(LIB) $(LIBS)

# The program with functions of the recorder replaced.
build/bench/meshfs_unrecorded: $(OBJDIR)/test/bench/meshfs_unrecorded.o $(OBJDIR)/fs/main.o $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS_$(VARIANT)) $(LDFLAGS) -Wl,--wrap=recorder_open_record,--wrap=recorder_close_record -o $@ \
		$(filter %.o,$^) $(LIB) $(LIBS)

# The program whose files nobody looks into.
build/bench/meshfs_unchecked: $(OBJDIR)/test/bench/meshfs_unchecked.o $(OBJDIR)/fs/main.o $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS_$(VARIANT)) $(LDFLAGS) -Wl,--wrap=quality_file_begin -o $@ $(filter %.o,$^) $(LIB) $(LIBS)

build/fuzz/%: $(OBJDIR)/test/fuzz/%.o $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS_fuzz) $(LDFLAGS) -o $@ $< $(LIB) $(LIBS)

.PHONY: unit-programs
unit-programs: $(UNITBIN)

unit: $(UNITBIN)
	$(Q)scripts/run-unit $(UNITBIN)

check: all unit

asan tsan:
	$(Q)$(MAKE) VARIANT=$@ all unit

fuzz:
	$(Q)$(MAKE) VARIANT=fuzz fuzz-targets
.PHONY: fuzz-targets
fuzz-targets: $(FUZZBIN)

bench: all $(BENCHBIN)

tidy:
	$(Q)clang-tidy --quiet $(SRC) -- $(BASE_CFLAGS)

format:
	$(Q)clang-format -i $(SRC) $(wildcard catalog/base/*.h catalog/store/*.h catalog/*.h policy/*.h fs/*.h test/unit/*.[ch] test/fuzz/*.c)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5
	install -m 755 build/meshfs $(DESTDIR)$(PREFIX)/bin/meshfs
	for m in docs/*.1; do [ -e "$$m" ] || continue; install -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man1/; done
	for m in docs/*.5; do [ -e "$$m" ] || continue; install -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man5/; done
	install -d $(DESTDIR)$(PREFIX)/sbin
	ln -sf ../bin/meshfs $(DESTDIR)$(PREFIX)/sbin/mount.fuse.meshfs

clean:
	rm -rf build

-include $(OBJ:.o=.d) $(UNIT:%.c=$(OBJDIR)/%.d) $(BENCH:%.c=$(OBJDIR)/%.d) $(FUZZ:%.c=$(OBJDIR)/%.d)
