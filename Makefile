# The one interface people and CI use. `make help` lists the targets.
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -P -m
# More arguments: `make demo ARGS="--store file"`, `make test ARGS="-k frames"`.
ARGS ?=

SERVICES := $(patsubst services/%/pyproject.toml,%,$(wildcard services/*/pyproject.toml))
PROJECTS := libs $(SERVICES:%=services/%) cli
PACKAGES := $(filter-out libs/contracts/%,$(wildcard libs/*/gantry_*)) $(wildcard services/*/gantry_*) cli/gantry_cli

# Quiet about everything but errors; a HOME that cannot be written is no error.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1 $(RUN) pip -qq

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: setup
setup: $(VENV)/.installed ## Create .venv with every pinned requirement and this project

$(VENV)/.installed: requirements/dev.txt libs/pyproject.toml cli/pyproject.toml $(SERVICES:%=services/%/pyproject.toml)
	@tools/check-python $(PYTHON)
	@echo "Setting up $(VENV) (once; some minutes, some hundred megabytes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation $(PROJECTS:%=-e ./%)
	@$(RUN) gantry_cli viewer fetch --optional
	@touch $@

.PHONY: demo
demo: setup ## Start everything, store a synthetic patient, say what to look at; Ctrl-C stops it
	@$(RUN) gantry_cli demo $(ARGS)

.PHONY: up
up: setup ## Start everything; Ctrl-C stops it
	@$(RUN) gantry_cli up $(ARGS)

.PHONY: viewer
viewer: setup ## Fetch the web viewer, if setup could not
	@$(RUN) gantry_cli viewer fetch

.PHONY: test
test: setup ## Run every fast test
	@tools/run-tests $(ARGS)

.PHONY: test-slow
test-slow: setup ## Run the slow tests that need no browser: long series, large bodies
	@GANTRY_REQUIRE_ALL=1 $(RUN) pytest -m "slow and not chromium and not images" tests $(ARGS)

.PHONY: faults
faults: setup ## Strike services, servers and discs under load, and audit; ARGS="--rounds 200 --seed 7"
	@$(RUN) gantry_testing.faults $(ARGS)

.PHONY: test-observability
test-observability: setup ## Break a real stack until each alert fires in a real Prometheus; look at every panel (slow)
	@GANTRY_REQUIRE_ALL=1 $(RUN) pytest tests/observability $(ARGS)

.PHONY: test-viewer
test-viewer: viewer ## Open studies of every kind in OHIF, in a real browser (slow)
	@GANTRY_REQUIRE_ALL=1 $(RUN) pytest tests/viewer $(ARGS)

.PHONY: test-upgrades
test-upgrades: setup ## Replace one release by another, and back, under load (slow)
	@GANTRY_REQUIRE_ALL=1 $(RUN) pytest tests/upgrades $(ARGS)

.PHONY: images
images: setup ## Build the images of the services, without a daemon (root; docs/container-images.md)
	@$(BIN)/python -P tools/images/build.py $(ARGS)

.PHONY: test-images
test-images: images ## Run the images as a cluster does, and build them twice (slow, root)
	@GANTRY_REQUIRE_ALL=1 $(RUN) pytest tests/images $(ARGS)

.PHONY: clients
clients: viewer ## Run clients that others have written against an archive with login (their scripts must be there)
	@$(BIN)/python -P tests/clients/run.py $(ARGS)

FUZZ := .venv-fuzz

$(FUZZ)/.installed: requirements/fuzz.txt
	@test -x $(FUZZ)/bin/python || $(PYTHON) -m venv $(FUZZ)
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(FUZZ)/bin/python -m pip -qq install --require-hashes -r $<
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(FUZZ)/bin/python -m pip -qq install --no-deps --no-build-isolation $(PROJECTS:%=-e ./%)
	@touch $@

.PHONY: fuzz
fuzz: setup $(FUZZ)/.installed ## Search for inputs that break a parser, and for requests that break the archive (slow)
	@$(FUZZ)/bin/python -P tests/fuzz/run.py $(ARGS)

.PHONY: check
check: lint test ## Everything a change must pass: lint, then the tests

.PHONY: lint
lint: setup ## ruff, mypy, import rules, protobuf contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES)
	$(BIN)/lint-imports
	$(BIN)/python tools/generate_contracts.py --check
	$(BIN)/buf lint
	$(BIN)/buf breaking proto --against proto/baseline.binpb

.PHONY: format
format: setup ## Let ruff format and repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: contracts
contracts: setup ## Generate libs/contracts from proto/
	$(BIN)/python tools/generate_contracts.py

.PHONY: dashboards
dashboards: setup ## Generate the chart's dashboards and rules of objectives from tools/observability
	$(BIN)/python tools/observability/generate.py

.PHONY: lock
lock: ## Pin every requirement again (writes requirements/*.txt)
	PYTHON=$(PYTHON) tools/lock $(ARGS)

.PHONY: bench
bench: setup ## Measure ours beside Orthanc in turn, three times (an hour and more; bench/README.md)
	@$(BIN)/python -m bench side-by-side $(ARGS)

.PHONY: bench-quick
bench-quick: setup ## A look at the same in some minutes
	@$(BIN)/python -m bench side-by-side --quick $(ARGS)

.PHONY: chart-check
chart-check: setup ## Let checkov look at the chart's profiles (slow; what is left out is argued)
	@tools/chart-check

.PHONY: clean
clean: ## Remove .venv and caches (never the state folder)
	rm -rf $(VENV) $(FUZZ) .venv-checkov .gantry-tools .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
