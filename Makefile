# Thin: every target is one or two commands, and make prints them. `make` alone explains the targets.
# ARGS goes to the program behind a target: make load ARGS="--help"

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.PHONY: help demo up down setup build test verify fix matrix fuzz bench report load verifier images compose-test

ARGS ?=
# Where cargo puts what it builds, also when CARGO_TARGET_DIR says so.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
CODECTL := $(TARGET_DIR)/debug/codectl

help: ## this text
	@echo 'usage: make TARGET [ARGS="..."]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: setup build ## the whole story in one terminal: canary, bad release, killed orchestrator; leaves nothing running
	$(CODECTL) demo $(ARGS)

up: setup build ## start the whole engine in one process; stays until Ctrl-C or `make down`
	$(CODECTL) up $(ARGS)

down: ## stop what `make up` started
	@test -x $(CODECTL) || { echo 'nothing is built, so nothing was started from here'; exit 1; }
	$(CODECTL) down $(ARGS)

setup: ## install what is missing (nothing the second time); ARGS=--all for Docker and nginx too
	tools/setup.sh $(if $(filter setup,$(MAKECMDGOALS)),$(ARGS))

build: ## codectl, the orchestrator as a process of its own, and the greeter that the demo deploys
	cargo build --package codectl --package orchestrator --package greeter

test: ## set up, verify, run all tests: what CI runs
	tools/test.sh $(ARGS)

verify: ## format, lints, crates (provider of crypto, licences, sources), generated files; never writes
	tools/verify.sh

fix: ## what can be repaired by a tool: lints, then format; writes
	cargo clippy --fix --allow-dirty --allow-staged --workspace --all-targets
	cargo fmt --all

matrix: ## the kill matrix: a crash after each journal record, in simulation; one line of totals
	cargo run --release --package code-tests --bin matrix -- $(ARGS)

fuzz: ## made-up bytes for whatever reads what strangers send, a minute per target
	tools/fuzz.sh $(ARGS)

bench: ## figures against their baselines, in one run
	cargo run --release --package benches -- $(ARGS)

report: ## one table of every figure, as JSON and as a plot in report/
	cargo run --release --package benches --bin report -- $(ARGS)

load: ## load an engine, and the data plane beside nginx
	cargo run --release --package loadtests -- $(ARGS)

verifier: ## verifiers in Python, written from the docs, on changed certificates and logs: do they agree with ours?
	cargo nextest run --package certificate --package ledger --no-capture another_verifier

images: ## build the container images
	tools/images.sh $(ARGS)

compose-test: ## the cluster as separate containers, tested
	tools/compose-test.sh $(ARGS)
