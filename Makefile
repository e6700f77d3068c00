# Every recipe goes through tests/timed, which shows each command and says how long the target took.
# A target's one-line help is the comment behind `##`; bare `make` prints them.

FILE ?=
N ?= 1000000
SECONDS ?= 60
ROUNDS ?= 3
ONLY ?=
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=

# The Elixir package asks for no hex package then, whether Hex is installed or not.
export DURAMEN_NO_HEX = 1

FUZZ = --manifest-path core/fuzz/Cargo.toml
FUZZ_TARGETS = batch footer manifest snapshot_header segment
BENCH = --manifest-path tests/bench/Cargo.toml
# Logs of others that are measured: all but RocksDB, and d-engine only where its build finds protoc.
PEERS = $(if $(shell command -v protoc 2>/dev/null),d-engine,peers)
# The Go that is there, and nothing from the network.
GO = GOTOOLCHAIN=local GOPROXY=off GOWORK=off

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test test-cli test-c test-go go-native test-python test-elixir test-languages test-reader test-deep \
    check bench doc header install fuzz crash-sweep

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## install from Debian what is missing; find Rust and Go
	@tests/timed $@ 'tests/setup'

demo: ## a three-node Raft cluster, killed while it takes snapshots, loses nothing (FILE=your.txt; needs Rust only)
	@tests/timed $@ 'tests/setup demo' \
	    'cargo run --release --quiet --locked --example demo -p duramen-raft-io -- $(if $(FILE),--file "$(FILE)")'

test: setup ## every test that fits into minutes, the examples in the documentation and the README included
	@tests/timed $@ 'cargo test --workspace --exclude duramen-ffi --locked' \
	    'make --no-print-directory test-c' \
	    'make --no-print-directory test-go' \
	    'make --no-print-directory test-python' \
	    'make --no-print-directory test-elixir' \
	    'make --no-print-directory test-languages' \
	    'python3 -B -m unittest discover -s tests/reader'

test-cli: ## the command `duramen`: its output, its exit codes, and its work beside a live writer
	@tests/timed $@ 'cargo test --locked -p duramen-cli'

test-c: setup ## the C interface: its header, an installation, programs in C and C++, the driver
	@tests/timed $@ 'cargo test --locked -p duramen-ffi' \
	    'tests/drivers/c/build target/drivers/c' \
	    'tests/run c'

test-go: go-native ## the Go package: its tests with the race detector, the driver, a module outside the repository
	@tests/timed $@ 'files=$$(gofmt -l bindings/go) && test -z "$$files" || { echo "gofmt would change: $$files"; false; }' \
	    'cd bindings/go && $(GO) go vet ./...' \
	    'cd bindings/go && $(GO) go test -race ./...' \
	    '$(GO) tests/drivers/go/build target/go/duramen-driver' \
	    'tests/run go' \
	    '$(GO) tests/go-outside'

go-native: ## the static library that the Go package links
	@tests/timed $@ 'tests/setup go' 'bindings/go/internal/native/build'

test-python: ## the Python package: its wheel is built, installed into a fresh environment and tested there
	@tests/timed $@ 'bindings/python/tests/run -q'

test-elixir: setup ## the Elixir package: its tests, its driver, and a project outside the repository that uses it
	@tests/timed $@ 'tests/drivers/elixir/build' \
	    'cd bindings/elixir && mix test --warnings-as-errors' \
	    'bindings/elixir/test/outside' \
	    'tests/run elixir'

test-languages: ## every script by every driver, and stores killed in mid-write handed from each language to each
	@tests/timed $@ 'cargo build --locked -p duramen-driver' 'tests/run'

test-reader: ## the reader that knows nothing but FORMAT.md: the page's examples, and the stores that this crate writes
	@tests/timed $@ 'python3 -B -m unittest discover -s tests/reader' \
	    'cargo test --locked -p duramen --test independent_reader'

test-deep: setup ## the long tests, then 1,000,000 inputs for each fuzz target
	@tests/timed $@ 'cargo test --workspace --release --locked -- --ignored' \
	    $(foreach target,$(FUZZ_TARGETS),'core/fuzz/run $(target) 1000000x')

check: setup ## formatting, lints, documentation, licences, one version number, the C header
	@tests/timed $@ 'cargo fmt --all --check' \
	    'cargo fmt $(FUZZ) --check' \
	    'cargo fmt $(BENCH) --check' \
	    'cargo clippy --workspace --locked -- -D warnings' \
	    'cargo clippy --workspace --all-targets --all-features --locked -- -D warnings' \
	    'cargo clippy $(FUZZ) --locked -- -D warnings' \
	    'RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --locked' \
	    'cd bindings/elixir && mix format --check-formatted && MIX_ENV=test mix compile --force --warnings-as-errors' \
	    'tests/licences' \
	    'cargo test --locked --quiet -p duramen --test house_rules one_version' \
	    'cargo test --locked --quiet -p duramen-ffi --test header'

bench: ## measure against the disk, the shortest honest log and the logs of others, into target/bench (ROUNDS=3, ONLY=w1,w4b; see tests/bench)
	@tests/timed $@ 'tests/setup demo' \
	    $(if $(filter peers,$(PEERS)),'echo "d-engine is not measured: it needs protoc (protobuf-compiler) to build"') \
	    'cargo test --release --quiet --locked $(BENCH) --features $(PEERS)' \
	    'cargo run --release --quiet --locked $(BENCH) --features $(PEERS) -- --quick --rounds $(ROUNDS) $(if $(ONLY),--only "$(ONLY)")'

doc: ## the documentation of the Rust crates, in target/doc
	@tests/timed $@ 'cargo doc --workspace --no-deps --all-features --locked'

header: ## write include/duramen.h anew from ffi/src
	@tests/timed $@ 'DURAMEN_HEADER=write cargo test --quiet --locked -p duramen-ffi --test header up_to_date'

install: ## install the C library and the command `duramen` (PREFIX=/usr/local, LIBDIR=PREFIX/lib, DESTDIR=)
	@tests/timed $@ 'PREFIX="$(PREFIX)" LIBDIR="$(LIBDIR)" DESTDIR="$(DESTDIR)" ffi/install' \
	    'PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" bindings/cli/install'

fuzz: setup ## random bytes as batches, footers, manifests, snapshot headers and segments, for SECONDS=60 each
	@tests/timed $@ $(foreach target,$(FUZZ_TARGETS),'core/fuzz/run $(target) $(SECONDS)')

crash-sweep: ## many more crash states than `make test` tries: N=1000000
	@tests/timed $@ \
	    'DURAMEN_CRASH_STATES=$(N) cargo test --release --locked -p duramen --test crash_enumeration -- --nocapture'
