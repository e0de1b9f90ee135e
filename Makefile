# Thin: every target is one or two commands, and make prints them. `make` alone explains the targets.
# ARGS goes to the program behind a target: make load ARGS="--help"

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.PHONY: help demo up down setup build test verify fix matrix rounds fuzz mutants coverage bench report load verifier cases images compose-test

ARGS ?=
# Where cargo puts what it builds, also when CARGO_TARGET_DIR says so.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
CODECTL := $(TARGET_DIR)/debug/codectl
# A program that measures. --workspace here and everywhere: with the features of every other build, so that little is compiled twice.
measure = cargo build --release --workspace --bin $(1) && $(TARGET_DIR)/release/$(1) $(ARGS)

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
	cargo build --workspace --bin codectl --bin orchestrator --bin greeter

test: ## set up, verify, run all tests: what CI runs
	tools/test.sh $(ARGS)

verify: ## format, lints, crates (provider of crypto, licences, sources), generated files; never writes
	tools/verify.sh

fix: ## what can be repaired by a tool: lints, then format; writes
	cargo clippy --fix --allow-dirty --allow-staged --workspace --all-targets
	cargo fmt --all

matrix: ## the kill matrix: a crash after each journal record, in simulation; one line of totals
	$(call measure,matrix)

rounds: setup build ## kill, pause, fill up, set wrong and damage a real engine, and look whether it keeps its promises; ARGS=--list
	cargo build --workspace --bin rounds && $(TARGET_DIR)/debug/rounds $(ARGS)

fuzz: ## made-up bytes for whatever reads what strangers send, a minute per target
	tools/fuzz.sh $(ARGS)

mutants: ## plants small bugs in what decides and counts which the tests notice; ARGS="--share 0/20" for a sample
	tools/setup.sh --measure
	tools/mutants.sh $(ARGS)

coverage: ## which lines of each crate the tests run
	tools/setup.sh --measure
	tools/coverage.sh $(ARGS)

bench: ## figures against their baselines, in one run
	$(call measure,benches)

report: ## one table of every figure, as JSON and as a plot in report/
	$(call measure,report)

load: ## load an engine, and the data plane beside nginx
	$(call measure,load)

verifier: ## verifiers in Python, written from the docs, on changed certificates and logs: do they agree with ours?
	cargo nextest run --workspace --no-capture another_verifier

cases: ## inputs that went wrong for people elsewhere, tried on this project; one table
	cargo nextest run --workspace --test cases --no-capture

images: ## build the container images
	tools/images.sh $(ARGS)

compose-test: ## the cluster as separate containers, tested
	tools/compose-test.sh $(ARGS)
