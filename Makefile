# Every recipe goes through tests/timed, which shows each command and says how long the target took.
# A target's one-line help is the comment behind `##`; bare `make` prints them.

FILE ?=
N ?= 1000000
SECONDS ?= 60

# The Elixir package asks for no hex package then, whether Hex is installed or not.
export DURAMEN_NO_HEX = 1

FUZZ = --manifest-path core/fuzz/Cargo.toml

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test test-elixir test-deep check doc fuzz crash-sweep

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## install from Debian what is missing; find Rust
	@tests/timed $@ 'tests/setup'

demo: ## a three-node Raft cluster, killed again and again, keeps what it acknowledged (FILE=your.txt; needs Rust only)
	@tests/timed $@ 'tests/setup demo' \
	    'cargo run --release --quiet --locked --example demo -p duramen-raft-io -- $(if $(FILE),--file "$(FILE)")'

test: setup ## every test that fits into minutes, the examples in the documentation and the README included
	@tests/timed $@ 'cargo test --workspace --locked' '$(MAKE) --no-print-directory test-elixir'

test-elixir: setup ## the Elixir package: its tests, its driver, and a project outside the repository that uses it
	@tests/timed $@ 'tests/drivers/elixir/build' \
	    'cd bindings/elixir && mix test --warnings-as-errors' \
	    'bindings/elixir/test/outside' \
	    'tests/run elixir'

test-deep: setup ## the long tests, then fuzzing for SECONDS=60
	@tests/timed $@ 'cargo test --workspace --release --locked -- --ignored' \
	    'core/fuzz/run decode_batch $(SECONDS)'

check: setup ## formatting, lints, documentation, licences, one version number
	@tests/timed $@ 'cargo fmt --all --check' \
	    'cargo fmt $(FUZZ) --check' \
	    'cargo clippy --workspace --locked -- -D warnings' \
	    'cargo clippy --workspace --all-targets --all-features --locked -- -D warnings' \
	    'cargo clippy $(FUZZ) --locked -- -D warnings' \
	    'RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --locked' \
	    'cd bindings/elixir && mix format --check-formatted && MIX_ENV=test mix compile --force --warnings-as-errors' \
	    'tests/licences' \
	    'cargo test --locked --quiet -p duramen --test house_rules one_version'

doc: ## the documentation of the Rust crates, in target/doc
	@tests/timed $@ 'cargo doc --workspace --no-deps --all-features --locked'

fuzz: setup ## random bytes against the decoder, for SECONDS=60
	@tests/timed $@ 'core/fuzz/run decode_batch $(SECONDS)'

crash-sweep: ## many more crash states than `make test` tries: N=1000000
	@tests/timed $@ \
	    'DURAMEN_CRASH_STATES=$(N) cargo test --release --locked -p duramen --test crash_enumeration -- --nocapture'
