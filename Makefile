# One way to do each chore. Every target makes its own virtual environment in this checkout.

SHELL := /bin/sh
PORT ?= 8000
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 20
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)
DEV := DJANGO_SETTINGS_MODULE=settings.dev PORT=$(PORT)

.DEFAULT_GOAL := help
.PHONY: help run demo test test-postgres check terraform scan bench mutation slow lock system-packages node-packages clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/.installed: requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

run: $(VENV)/.installed ## Serve on SQLite and the local disk, with demo users (PORT=8000)
	@mkdir -p var
	@$(DEV) $(BIN)/python manage.py migrate --verbosity 0
	@$(DEV) $(BIN)/python manage.py gateway_demo
	@$(DEV) exec $(BIN)/python manage.py runserver --noreload 127.0.0.1:$(PORT)

demo: $(VENV)/.installed ## Tell the story on the local store, S3, Google Cloud Storage and Azure, and print the transcripts
	@$(BIN)/python -m tests.demo

test: $(VENV)/.installed ## Run the tests
	$(BIN)/python -X dev -m pytest -n $(WORKERS)

test-postgres: $(VENV)/.installed ## Run the gateway's tests on PostgreSQL, with a server of their own
	$(BIN)/python -m tests.on_postgres -n $(WORKERS) tests/gateway

check: $(VENV)/.installed ## Lint, types, import contracts, migrations, deployment checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	DJANGO_SETTINGS_MODULE=settings.test $(BIN)/python manage.py makemigrations --check --dry-run
	DJANGO_SETTINGS_MODULE=settings.test $(BIN)/python manage.py check --fail-level WARNING
	$(BIN)/shellcheck .ci/run
	$(BIN)/hadolint Dockerfile
	@TF_CLI_CONFIG_FILE=/dev/null $(BIN)/python tests/terraform/program.py fmt -check -recursive terraform

terraform: $(VENV)/.installed ## Prove the Terraform modules without a cloud: tests, policies, mutations
	$(BIN)/python -m pytest -n $(WORKERS) tests/terraform

var/checkov/.installed: tests/terraform/checkov.lock
	$(PYTHON) -m venv var/checkov
	var/checkov/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

scan: $(VENV)/.installed var/checkov/.installed ## Let checkov look at the plans (in an environment of its own)
	$(BIN)/python -m tests.terraform.scan var/checkov/bin/checkov

bench: $(VENV)/.installed ## Measure against peers in the same run, and print the tables
	$(BIN)/python -m tests.benchmarks

mutation: $(VENV)/.installed ## Put small faults into what decides, and count those that no test sees (MINUTES=20)
	$(BIN)/python -m tests.mutation --minutes $(MINUTES) --workers $(WORKERS)

slow: mutation ## What is slow by nature; benchmarks last, since a target that is not reached ends it
	$(BIN)/python -m tests.terraform.live
	$(MAKE) bench

lock: ## Resolve the dependencies again and write requirements.lock
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
		--custom-compile-command "make lock" --quiet --output-file requirements.lock
	$(BIN)/uv pip compile tests/terraform/checkov.in --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
		--custom-compile-command "make lock" --quiet --output-file tests/terraform/checkov.lock

system-packages: ## Install what Debian must give the tests, its services held back (needs root)
	sh tests/emulators/system-packages.sh

node-packages: tests/emulators/npm/node_modules/.installed ## Install what npm must give the tests

tests/emulators/npm/node_modules/.installed: tests/emulators/npm/package-lock.json
	npm ci --prefix tests/emulators/npm --loglevel error
	@touch $@

clean: ## Remove what the targets made
	rm -rf $(VENV) tests/emulators/npm/node_modules var .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
