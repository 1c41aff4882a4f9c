#!/bin/sh
# Lays out Roofline.app in $APP_DIR (target by default). On a Mac it is complete and signed ad hoc; elsewhere it has no
# program inside. $APP_BINARY names a program to take instead of building one.
set -eu
cd "$(dirname "$0")/.."

app="${APP_DIR:-target}/Roofline.app"
binary="${APP_BINARY:-}"
if [ -z "$binary" ] && [ "$(uname -s)" = Darwin ]; then
    scripts/prepare.sh
    cargo build --release --locked
    binary="${CARGO_TARGET_DIR:-target}/release/roofline"
fi

rm -rf "$app"
mkdir -p "$app/Contents/MacOS" "$app/Contents/Resources"
cp Info.plist "$app/Contents/Info.plist"
cp assets/icon.icns "$app/Contents/Resources/icon.icns"
printf 'APPL????' >"$app/Contents/PkgInfo"
if [ -n "$binary" ]; then
    cp "$binary" "$app/Contents/MacOS/roofline"
    chmod 755 "$app/Contents/MacOS/roofline"
fi
if [ "$(uname -s)" = Darwin ]; then
    codesign --force --sign - "$app"
    echo "$app is built"
else
    echo "$app is laid out without the program, which is built on a Mac"
fi
