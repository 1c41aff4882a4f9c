#!/usr/bin/env bash
# Builds Roofline with candle's CUDA devices. Without a CUDA toolkit, NVIDIA's compiler comes from PyPI into target/cuda; no
# GPU and no driver is needed. See docs/cuda.md.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
target=${CARGO_TARGET_DIR:-target}

# PTX of a later release than 13.0 isn't taken by drivers of the 580 series, so the versions are fixed.
wheels=(nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.88
    nvidia-cuda-cccl==13.0.85)

# The compiler as a folder that looks like a toolkit's: 190 MB once.
fetch_toolkit() {
    local home=$1
    [ -x "$home/bin/nvcc" ] && return
    command -v python3 >/dev/null || { say "Python 3 with pip is missing; install it, or a CUDA 13.0 toolkit, then run this again."; exit 1; }
    say "Fetching NVIDIA's compiler from PyPI (about 100 MB) into $home"
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    python3 -m pip download --quiet --no-deps --only-binary :all: --platform manylinux2014_x86_64 \
        --platform manylinux_2_17_x86_64 --platform manylinux2010_x86_64 --dest "$fresh" "${wheels[@]}"
    for wheel in "$fresh"/*.whl; do python3 -m zipfile -e "$wheel" "$fresh/unpacked"; done
    chmod +x "$fresh"/unpacked/nvidia/cu13/bin/* "$fresh"/unpacked/nvidia/cu13/nvvm/bin/*
    ln -s lib "$fresh/unpacked/nvidia/cu13/lib64"
    ln -s libcudart.so.13 "$fresh/unpacked/nvidia/cu13/lib/libcudart.so"
    mkdir -p "$(dirname "$home")"
    mv "$fresh/unpacked/nvidia/cu13" "$home"
}

# The linker wants the driver's and the libraries' names. Where they aren't installed, empty libraries of the same names do:
# the real ones are found when the program starts.
stand_ins() {
    local home=$1 built=$2 work name library pattern except
    work=$(mktemp -d)
    nm -u --no-demangle "$built"/deps/libcandle_core*.rlib "$built"/deps/libcudarc*.rlib \
        "$built"/deps/libcandle_kernels*.rlib "$built"/deps/libroofline*.rlib "$built"/build/candle-kernels-*/out/libmoe.a \
        2>/dev/null | awk '/ U /{ print $2 }' | grep -E '^(cu|nvrtc|curand|cublas)' | sort -u > "$work/symbols"
    while read -r name library pattern except; do
        grep -E "$pattern" "$work/symbols" | grep -vE "$except" | sed 's/.*/void &(void) {}/' > "$work/$name.c"
        cc -shared -fPIC -nostdlib -o "$work/lib$name.so" "$work/$name.c" "-Wl,-soname,$library"
        cp --remove-destination "$work/lib$name.so" "$home/lib/"
    done <<'LIST'
cublasLt libcublasLt.so.13 ^cublasLt ^$
cublas libcublas.so.13 ^cublas ^cublasLt
curand libcurand.so.10 ^curand ^$
nvrtc libnvrtc.so.13 ^nvrtc ^$
cuda libcuda.so.1 ^cu ^(cublas|curand|cuda)
LIST
    rm -rf "$work"
}

build() { cargo build --release --locked --features cuda "$@"; }

if [ -n "${CUDA_HOME:-}" ] || command -v nvcc >/dev/null; then
    build
else
    home=$(mkdir -p "$target/cuda" && cd "$target/cuda" && pwd)/cu13
    fetch_toolkit "$home"
    # One architecture a build: 90 is Hopper. candle asks the GPU otherwise, and there may be none here.
    export CUDA_HOME=$home CUDA_PATH=$home PATH="$home/bin:$PATH" CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90}
    build --lib
    stand_ins "$home" "$target/release"
    build
fi
say "Built $target/release/roofline with CUDA."
