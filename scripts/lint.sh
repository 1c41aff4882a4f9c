#!/usr/bin/env bash
# What the compiler, clippy, rustfmt and rustdoc have to say, for Linux and macOS, and ruff of the Python. Any warning
# fails.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/step.sh

# Without a Mac, checking its types is what keeps its code from rotting. An installed target is left as it is.
mac_target() { rustup target list --installed | grep -qx aarch64-apple-darwin || rustup target add aarch64-apple-darwin; }

export RUSTDOCFLAGS="-D warnings"
step "format" cargo fmt --check
step "python" scripts/lint-python.sh
step "clippy" cargo clippy --all-targets --locked -- -D warnings
step "target for macOS" mac_target
step "clippy for macOS" cargo clippy --all-targets --locked --target aarch64-apple-darwin -- -D warnings
step "documentation" cargo doc --no-deps --locked
