# Roofline. Targets ask nothing and work from any folder with make -C; run, test and lint install what they need on Debian.

# rustup's own place for cargo, for shells that don't have it on their path.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help run test lint app icon cuda

help: ## Lists the targets
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile

run: prepare ## Builds Roofline and opens it; without a display, prints the quick suite's table
	@scripts/run.sh

test: prepare ## Runs every test
	cargo test --locked
	python3 -W error -m unittest discover -s tests/engines

lint: prepare ## Checks formatting, lints and documentation, for Linux and macOS
	@scripts/lint.sh

app: ## Builds Roofline.app on a Mac (in target/, or APP_DIR=…)
	@scripts/app.sh

cuda: prepare ## Builds Roofline with CUDA for NVIDIA GPUs (docs/cuda.md)
	@scripts/cuda.sh

icon: ## Draws assets/icon.png and assets/icon.icns from assets/icon.svg
	@scripts/icon.sh

.PHONY: prepare
prepare:
	@scripts/prepare.sh
