#!/usr/bin/env bash
# What ruff has to say of the Python in assets/ and tests/. It is installed into target/lint-python, pinned and hashed.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/lint-python
# Made anew when another ruff is pinned, or when it was left half made.
if ! cmp -s scripts/lint-python.txt "$venv/made-from.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r scripts/lint-python.txt
    cp scripts/lint-python.txt "$venv/made-from.txt"
fi
"$venv/bin/ruff" format --check assets/engines tests/data/engines tests/engines scripts
"$venv/bin/ruff" check assets/engines tests/data/engines tests/engines scripts
