# Every recipe goes through tests/timed, which shows each command and says how long the target took.
# A target's one-line help is the comment behind `##`; bare `make` prints them.

FILE ?=
N ?= 1000000
SECONDS ?= 60
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=

FUZZ = --manifest-path core/fuzz/Cargo.toml

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test test-c test-deep check doc header install fuzz crash-sweep

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## install from Debian what is missing; find Rust
	@tests/timed $@ 'tests/setup'

demo: ## a three-node Raft cluster, killed again and again, keeps what it acknowledged (FILE=your.txt; needs Rust only)
	@tests/timed $@ 'tests/setup demo' \
	    'cargo run --release --quiet --locked --example demo -p duramen-raft-io -- $(if $(FILE),--file "$(FILE)")'

test: setup ## every test that fits into minutes, the examples in the documentation and the README included
	@tests/timed $@ 'cargo test --workspace --exclude duramen-ffi --locked' 'make --no-print-directory test-c'

test-c: setup ## the C interface: its header, an installation, programs in C and C++, the driver
	@tests/timed $@ 'cargo test --locked -p duramen-ffi' \
	    'tests/drivers/c/build target/drivers/c' \
	    'tests/run c'

test-deep: setup ## the long tests, then fuzzing for SECONDS=60
	@tests/timed $@ 'cargo test --workspace --release --locked -- --ignored' \
	    'core/fuzz/run decode_batch $(SECONDS)'

check: setup ## formatting, lints, documentation, licences, one version number, the C header
	@tests/timed $@ 'cargo fmt --all --check' \
	    'cargo fmt $(FUZZ) --check' \
	    'cargo clippy --workspace --locked -- -D warnings' \
	    'cargo clippy --workspace --all-targets --all-features --locked -- -D warnings' \
	    'cargo clippy $(FUZZ) --locked -- -D warnings' \
	    'RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --locked' \
	    'tests/licences' \
	    'cargo test --locked --quiet -p duramen --test house_rules one_version' \
	    'cargo test --locked --quiet -p duramen-ffi --test header'

doc: ## the documentation of the Rust crates, in target/doc
	@tests/timed $@ 'cargo doc --workspace --no-deps --all-features --locked'

header: ## write include/duramen.h anew from ffi/src
	@tests/timed $@ 'DURAMEN_HEADER=write cargo test --quiet --locked -p duramen-ffi --test header up_to_date'

install: ## install the C library (PREFIX=/usr/local, LIBDIR=PREFIX/lib, DESTDIR=)
	@tests/timed $@ 'PREFIX="$(PREFIX)" LIBDIR="$(LIBDIR)" DESTDIR="$(DESTDIR)" ffi/install'

fuzz: setup ## random bytes against the decoder, for SECONDS=60
	@tests/timed $@ 'core/fuzz/run decode_batch $(SECONDS)'

crash-sweep: ## many more crash states than `make test` tries: N=1000000
	@tests/timed $@ \
	    'DURAMEN_CRASH_STATES=$(N) cargo test --release --locked -p duramen --test crash_enumeration -- --nocapture'
