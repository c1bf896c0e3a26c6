# Everything a person or a machine does with this project. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CODE := operator agent_image tests
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links
NODES ?= 2
STORIES ?= 2
export PYTHONPATH := operator:agent_image:.
export NODES

##@ Use

.PHONY: demo
demo: venv ## Bring up a cluster, install the chart, apply the quickstart and place a call
	$(BIN)/python -m tests.demo

.PHONY: demo-down
demo-down: venv ## Remove the demo, and the local cluster with it
	$(BIN)/python -m tests.demo --down

.PHONY: cluster
cluster: venv ## Bring up the local cluster (NODES=n, EGRESS=1: a way out for pods) and its images; kubeconfig in .cluster/kubeconfig
	$(BIN)/python -m tests.cluster up
	$(BIN)/python -m tests.cluster images

.PHONY: cluster-down
cluster-down: venv ## Remove the local cluster without a trace
	$(BIN)/python -m tests.cluster down

##@ Work

.PHONY: check
check: venv ## Everything that needs no cluster and no sound; minutes
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target format-check lint types imports verify unit

.PHONY: test
# Not $(MAKE) in its recipe, for which `make -n` would run all of it.
test: AGAIN := $(MAKE)
# One run for all parts: the chart is installed once.
test: export STORIES_RUN := $(shell date +%s.%N)
test: check wire cluster ## Everything, on a real cluster; what CI runs
	@failed=0; \
	$(BIN)/python -m tests.integration --part quiet || failed=1; \
	$(BIN)/python -m tests.e2e --at-once $(STORIES) -k "not soak" || failed=1; \
	$(AGAIN) --no-print-directory --keep-going --jobs 2 integration-together short-soak || failed=1; \
	exit $$failed

.PHONY: format
format: venv ## Format the code
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

.PHONY: format-check
format-check: venv
	$(BIN)/ruff format --check --quiet $(CODE)

.PHONY: lint
lint: venv
	$(BIN)/ruff check --quiet $(CODE)

.PHONY: types
types: venv
	$(BIN)/mypy

.PHONY: imports
imports: venv
	$(BIN)/lint-imports | grep -E 'KEPT|BROKEN|Contracts:|->' ; test $${PIPESTATUS[0]} -eq 0

.PHONY: unit
unit: venv ## Unit tests
	$(BIN)/python -m pytest tests/unit --quiet -n auto

.PHONY: wire
wire: venv ## Tests of the provider stand-ins and the caller, with real sound and the real plugins
	$(BIN)/python -m pytest tests/wire --quiet -m "not every_release" -n 4 --dist worksteal

.PHONY: test-agents
test-agents: venv ## The runner with a release of each minor version of livekit-agents; `make test` tries the oldest and the newest
	$(BIN)/python -m pytest tests/wire/agent_image/test_releases.py --quiet

.PHONY: integration
integration: venv ## Tests against API servers of their own; no cluster
	$(BIN)/python -m tests.integration

# A soak waits more than it computes, takes a load of others as one fault among many, and measures no sound.
.PHONY: integration-together short-soak
integration-together:
	$(BIN)/python -m tests.integration --part together
short-soak:
	$(BIN)/python -m pytest tests/e2e/test_soak.py --junitxml .cluster/stories-soak.xml

.PHONY: test-kubernetes
test-kubernetes: venv ## The same against another Kubernetes (VERSION=1.33), which is built from source; not in `make test`
	@test -n "$(VERSION)" || { echo "say which: make test-kubernetes VERSION=1.33"; exit 1; }
	$(BIN)/python -m tests.integration --kubernetes $(VERSION)

.PHONY: e2e
e2e: venv ## User stories on a cluster that is up: STORIES=n at once, then two that need quiet, then one by one
	$(BIN)/python -m tests.e2e --at-once $(STORIES)

MINUTES ?= 60
ROOMS ?= 2000
KILLS ?= 10
CALLS ?= 200
TIMES ?= 1
.PHONY: soak
soak: cluster ## Rooms, calls and faults at random for MINUTES, TIMES soaks from SEED on, on the local cluster
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --rooms $(ROOMS) --kills $(KILLS) --calls $(CALLS) --times $(TIMES) \
		$(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults "$(FAULTS)")

ROUNDS ?= 10
.PHONY: flakes
flakes: venv ## Stories (FILES=, K=pytest's expression) ROUNDS times beside a load on the CPUs: what failed how often
	$(BIN)/python -m tests.flakes --rounds $(ROUNDS) --at-once $(STORIES) $(if $(K),-k "$(K)") $(FILES)

.PHONY: bench
bench: venv ## Measure calls, memory and readiness on a cluster that is up
	$(BIN)/python -m tests.benchmarks

N ?= 10000
.PHONY: bench-rooms
bench-rooms: cluster ## Measure N rooms (default 10000) beside a bare script that makes the same requests
	$(BIN)/python -m tests.benchmarks.rooms --rooms $(N)

.PHONY: bench-compare
bench-compare: venv ## Show the last run of each benchmark beside the one before it, from .cluster/bench.jsonl
	$(BIN)/python -m tests.benchmarks.compare

##@ Generated files

.PHONY: generate
generate: venv ## Write CRDs, their copy in the chart, docs/api.md, the tables of reasons and the README's example
	$(BIN)/python -m livekit_operator.api.generate

.PHONY: verify
verify: venv ## Fail when a generated file is stale
	$(BIN)/python -m livekit_operator.api.generate --verify

.PHONY: lock
lock: venv ## Write the locked dependencies anew
	$(COMPILE) requirements/tools.in -o requirements/tools.txt
	$(COMPILE) pyproject.toml -o requirements/operator.txt
	$(COMPILE) pyproject.toml --extra dev agent_image/requirements.in -o requirements/dev.txt
	$(COMPILE) agent_image/requirements.in -o agent_image/requirements.txt
	$(COMPILE) tests/providers/requirements.in -o tests/providers/requirements.txt
	for agents in requirements/agents/*.in; do $(COMPILE) "$$agents" -o "$${agents%.in}.txt"; done

##@ Surroundings

# The stamp lies in the environment itself, so a removed one is made anew.
.PHONY: venv
venv: $(VENV)/.installed

$(VENV)/.installed: requirements/dev.txt requirements/tools.txt
	@echo "installing the development environment into $(VENV)"
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { apt-get update -qq && apt-get install -y -qq python3-venv; }
	@ldconfig -p | grep -q libespeak-ng.so.1 || { apt-get update -qq && apt-get install -y -qq espeak-ng; }
	@command -v npm >/dev/null || { apt-get update -qq && apt-get install -y -qq nodejs npm; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tools.txt
	@$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes requirements/dev.txt requirements/tools.txt
	@touch $@

.PHONY: clean
clean: ## Remove the environment and caches of tools; the cluster stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*##/ {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
