# The verbs of this house. `make` lists them.
#
# `make run` and `make test` need a Rust toolchain (rustup.rs) and a C compiler, nothing else.

CARGO ?= cargo
DATA  ?= natter-data
PAGES := protocols hooks config commands

.DEFAULT_GOAL := help
.PHONY: deb man help cargo run test check interop bench bench-peers bench-http demo doc tree new-module clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# Tells what is missing before a shell says something less helpful.
cargo:
	@command -v $(CARGO) >/dev/null || { \
		echo "make: no cargo here. Install Rust from https://rustup.rs, then open a new shell"; \
		echo "make: (or run: . \"\$$HOME/.cargo/env\")"; exit 1; } >&2
	@command -v cc >/dev/null || { \
		echo "make: no C compiler here, and SQLite is built from source. On Debian: apt-get install gcc"; exit 1; } >&2

run: cargo ## build natterd for real use and run it in the foreground
	$(CARGO) build --release --package supervisors
	@exec "$${CARGO_TARGET_DIR:-target}/release/natterd" --data-dir "$(DATA)"

test: cargo ## run every test; says at the end how many of each kind ran
	@tests/all.sh

check: cargo ## format, lint, and all tests (the rules of the house are among them)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@tests/all.sh

interop: cargo ## other people's programs against natterd, certificates verified
	@tests/interop/run.sh

# Each figure in about a second; `cargo bench --package X` takes its time. Words in BENCH pick among them.
bench: cargo ## measure the parts: actors, stanzas, routing, hooks, IQs, logins, commits, …
	$(CARGO) bench --workspace --bench '*' -- --quick $(BENCH)

bench-peers: cargo ## measure ejabberd and Prosody beside ours, into docs/PERFORMANCE.md; ROUNDS=, WORKLOADS=, PEERS=, SCALE=
	@tests/bench-peers/run.sh

# A workspace of its own: nothing else needs axum.
bench-http: cargo ## measure httpd beside hyper, axum, matchit and wayfind, into docs/PERFORMANCE.md; ROUNDS=
	$(CARGO) run --release --locked --manifest-path tests/bench-http/Cargo.toml -- \
		--rounds "$(or $(ROUNDS),15)" --into docs/PERFORMANCE.md

demo: cargo ## a node of its own: two clients chat, mod_echo is added, the tree is shown, all ends
	$(CARGO) build --quiet --package supervisors
	@$(CARGO) run --quiet --package tests --bin demo

doc: cargo ## print the pages that come from code into docs/
	$(CARGO) build --quiet --package supervisors
	@set -eu; for page in $(PAGES); do \
		file="docs/$$(echo $$page | tr a-z A-Z).md"; \
		"$${CARGO_TARGET_DIR:-target}/debug/natterd" --print-doc $$page >"$$file.new"; \
		mv "$$file.new" "$$file"; echo "$$file"; done

tree: cargo ## the supervision tree of the node that `make run` runs
	@$(CARGO) run --quiet --package supervisors --bin natterctl -- --data-dir "$(DATA)" tree

man: cargo ## man pages and shell completions, into target/pages
	$(CARGO) build --release --package supervisors
	@out="$${CARGO_TARGET_DIR:-target}"; packaging/pages.sh "$$out/release/natterd" "$$out/pages/man8" "$$out/pages"; echo "$$out/pages"

deb: cargo ## a Debian package, into target/debian
	$(CARGO) build --release --package supervisors
	@packaging/deb.sh

new-module: ## NAME=mod_x: module, list line, scenario and changelog line to begin with
	@tests/new-module.sh "$(NAME)"

clean: cargo ## take away what was built and what interop installed
	$(CARGO) clean
	rm -rf .interop .bench-peers
