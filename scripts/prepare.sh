#!/bin/sh
# Makes sure that what a build, a run and the tests need is there; installs what is missing on Debian and its kin.
# Says what it installs, asks nothing, and changes nothing where everything is there.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

check_rust() {
    if ! command -v cargo >/dev/null; then
        say "Rust is missing. Install it with rustup (https://rustup.rs), then run this again."
        exit 1
    fi
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
        say "Rust $found is too old, $wanted or newer is needed: run 'rustup update stable', then run this again."
        exit 1
    fi
}

has_library() { PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null | grep -q "[[:space:]]$1 "; }

# A Vulkan driver describes itself in one of these folders; Mesa's package brings a software one for machines without a GPU.
has_vulkan_driver() {
    for file in /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json; do
        if [ -e "$file" ]; then return 0; fi
    done
    return 1
}

# Sets $missing to the Debian packages whose contents aren't there. The window system's libraries are loaded when the window
# opens, so that no linker would notice.
find_missing() {
    missing=
    command -v cc >/dev/null || missing="$missing gcc libc6-dev"
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3 python3-venv"
    has_vulkan_driver || missing="$missing mesa-vulkan-drivers"
    while read -r library package; do
        has_library "$library" || missing="$missing $package"
    done <<'LIST'
libvulkan.so.1 libvulkan1
libX11.so.6 libx11-6
libX11-xcb.so.1 libx11-xcb1
libXcursor.so.1 libxcursor1
libXi.so.6 libxi6
libxkbcommon.so.0 libxkbcommon0
libxkbcommon-x11.so.0 libxkbcommon-x11-0
libwayland-client.so.0 libwayland-client0
LIST
}

give_up() {
    say "$1"
    say "Please install what these Debian packages hold, under your system's names:$missing"
    exit 1
}

install_missing() {
    command -v apt-get >/dev/null || give_up "Some libraries are missing, and this system has no apt-get."
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || give_up "Some libraries are missing, and neither root nor sudo is at hand."
        if [ -t 0 ]; then as_root=sudo; else as_root="sudo -n"; fi
    fi
    say "Installing:$missing"
    # An outdated list may still do, so its failure alone is none.
    $as_root apt-get update -qq >&2 || say "The package lists could not be renewed; trying with the old ones."
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2 ||
        give_up "apt-get could not install them."
}

check_rust
case $(uname -s) in
    Linux)
        find_missing
        if [ -n "$missing" ]; then install_missing; fi
        ;;
    Darwin)
        if ! xcode-select -p >/dev/null 2>&1; then
            say "The linker is missing. Install Apple's command line tools with 'xcode-select --install', then run this again."
            exit 1
        fi
        ;;
esac
