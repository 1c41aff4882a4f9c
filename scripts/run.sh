#!/bin/sh
# Builds, then opens the window; where there is no display, measures without one and prints the table.
set -eu
cd "$(dirname "$0")/.."

if [ "$(uname -s)" = Linux ] && [ -z "${DISPLAY:-}" ] && [ -z "${WAYLAND_DISPLAY:-}" ]; then
    echo "There is no display, so the quick suite runs here without the window." >&2
    set -- run --suite quick
fi
exec cargo run --release --locked -- "$@"
