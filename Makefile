# Thin fronts for Meson and the scripts, for whoever just wants to run it. All of the building is in meson.build.
#
# make itself ends with 2 whenever a command of its fails, and prints the command's own exit status; scripts/run passes it on.

.PHONY: help build run configure-tests test test-profiles bench pgo soak clean

help:
	@echo 'make build           install what the build needs, build the library into build/'
	@echo 'make run CMD="..."   the same, then run a shell command with the library preloaded'
	@echo 'make test            install what the tests need, build, run all tests'
	@echo 'make test-profiles   the tests of all that depends on the size classes and the page size, with other profiles'
	@echo 'make bench           install the other allocators and what is measured, build, run the benchmarks;'
	@echo '                     ARGUMENTS="--quick" and the like go to bench/bench.py run'
	@echo 'make pgo             the whole PGO loop on a bundled program, into build-pgo/, with what it brought at the end;'
	@echo '                     ARGUMENTS="--runs 9" and the like go to tool/tiermalloc pgo'
	@echo 'make soak            the long tests, which `make test` leaves out'
	@echo 'make clean           remove the build folders'

# All output of building goes to standard error: standard output is the command's own.
build:
	@scripts/install-dependencies build
	@test -f build/build.ninja || meson setup build --buildtype=release >&2
	@output=$$(meson compile -C build tiermalloc:shared_library 2>&1) || { echo "$$output" >&2; exit 1; }

# The command goes through the environment as it was written, so that make expands nothing in it. It does not see make's own
# variables: they would reach a make that it might run.
run: export TIERMALLOC_COMMAND = $(value CMD)
run: build
	@test -n "$$TIERMALLOC_COMMAND" || { echo 'usage: make run CMD="command and arguments"' >&2; exit 2; }
	@command=$$TIERMALLOC_COMMAND; unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES CMD TIERMALLOC_COMMAND; \
	exec scripts/run sh -c "$$command"

# A build folder made before the tests' packages were installed has no tests in it: it is configured again.
configure-tests:
	@scripts/install-dependencies test
	@if test -f build/build.ninja; then meson setup --reconfigure build; else meson setup build --buildtype=release; fi

test: configure-tests
	meson test -C build --print-errorlogs

# Real programs would take many times their memory with the profile tiny.
test-profiles: configure-tests
	@for profile in tiny maximal pages-4k pages-64k; do \
	    test -f build-$$profile/build.ninja || meson setup build-$$profile --buildtype=release \
	        -Dclasses=tests/profiles/$$profile.toml || exit; \
	    programs='--suite preload'; test $$profile != tiny || programs=; \
	    meson test -C build-$$profile --print-errorlogs --suite unit --suite abi --suite traps --suite stress \
	        --suite record $$programs || failed="$$failed $$profile"; \
	done; test -z "$$failed" || { echo "failed with$$failed" >&2; exit 1; }

soak: configure-tests
	meson test -C build --print-errorlogs --setup soak --suite soak

# A build folder made before the development packages were installed has no drivers with allocators linked in.
bench:
	@scripts/install-dependencies bench
	@if test -f build/build.ninja; then meson setup --reconfigure build; else meson setup build --buildtype=release; fi >&2
	@meson compile -C build bench-drivers >&2
	@bench/bench.py run $(value ARGUMENTS)

# A Python that takes all its objects from malloc and works on strings of many lengths. The distribution's Python if it is
# there: the first one in the path may be a script, or linked statically.
pgo_python = $(firstword $(wildcard /usr/bin/python3) python3)
pgo:
	@scripts/install-dependencies build >&2
	@tool/tiermalloc pgo -o build-pgo $(value ARGUMENTS) \
	    env PYTHONMALLOC=malloc PYTHONHASHSEED=0 $(pgo_python) -S bench/programs/strings.py 20000

clean:
	rm -rf build build-*
