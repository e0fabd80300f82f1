# What this project can do, one target each; `make help` lists them.

VENV := .venv
PY := $(VENV)/bin/python
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SCANNER := .venv-checkov
WORKER := .functions-worker
READERS := .log-readers
# Percent of the lines and branches of the product, of those that tests run in their own process.
LEAST_COVERED := 97
BICEP := $(firstword $(wildcard ../shared/tools/bicep) $(shell command -v bicep))
PACKAGES := client functions shared standalone
SOURCES := function_app.py $(PACKAGES)
PYTHONS := python3.12 python3.11 python3.13 python3
LOCK := uv pip compile --universal --generate-hashes --no-header --no-emit-index-url \
	--no-emit-find-links --quiet --upgrade

.DEFAULT_GOAL := help
.PHONY: help demo serve test faults check catalogue infra bench scale lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Built anew whenever the pins change, so that it holds exactly what they say.
$(INSTALLED): requirements-dev.txt
	@for python in $(PYTHONS); do \
		if $$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
		then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "Strongroom needs Python 3.11 or later with its venv module; tried: $(PYTHONS)." \
			"Install one, then run make again." >&2; exit 1; \
	fi; \
	echo "Installing the pinned requirements into $(VENV) with $$($$found --version)"; \
	$$found -m venv --clear $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-dev.txt
	@touch $@

# Through the environment, so that no character of a file's name means anything to make or the shell.
demo: export DEMO_FILE := $(value FILE)
demo: $(INSTALLED) ## send a file (FILE=path, or one of this machine) through everything
	@$(PY) -m standalone.demo $(if $(value FILE),"$$DEMO_FILE")

serve: $(INSTALLED) ## run the server on 127.0.0.1:7071 with its data in ./data
	@$(PY) -m standalone

# Azure's Python worker. It says that it needs Python 3.13; it is nothing but Python, and the same on any.
# It runs on the pinned requirements, as on Azure on those of the app.
$(WORKER)/.installed: requirements-worker.txt $(INSTALLED)
	@rm -rf $(WORKER)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
		--ignore-requires-python --target $(WORKER) -r requirements-worker.txt
	@touch $@

# Readers of tlog-tiles that are not ours. They say that they need Python 3.12; they run on 3.11 too.
$(READERS)/.installed: requirements-readers.txt $(INSTALLED)
	@rm -rf $(READERS)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
		--ignore-requires-python --target $(READERS) -r requirements-readers.txt
	@touch $@

# Four at a time on any machine: much of the time goes into waiting for emulators and servers.
test: $(INSTALLED) $(WORKER)/.installed $(READERS)/.installed ## run all tests (COVERAGE=1: and measure their coverage)
	$(PY) $(if $(COVERAGE),-m slipcover --json --out .coverage) -m pytest -n 4 --dist worksteal
	$(if $(COVERAGE),$(PY) -m slipcover --fail-under $(LEAST_COVERED) --merge .coverage --out .coverage)

faults: $(INSTALLED) ## kill the real server 50 times, append to one log from two processes for a minute; look for losses
	STRONGROOM_FAULT_KILLS=50 STRONGROOM_APPEND_SECONDS=60 $(PY) -m pytest tests/faults

check: $(INSTALLED) ## format, lint, types, layers, security, known vulnerabilities
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -r -c pyproject.toml $(SOURCES)
	$(PY) .ci/audit.py requirements.txt

catalogue: $(INSTALLED) ## write docs/audit-entries.md and its schema from the code
	$(PY) -m standalone.audit_entries

# On its own, because its pins hold other packages back.
$(SCANNER)/.installed: requirements-checkov.txt $(INSTALLED)
	@$(PY) -m venv --clear $(SCANNER)
	@$(SCANNER)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-checkov.txt
	@touch $@

infra: $(SCANNER)/.installed ## scan the infrastructure, compiled where there is a Bicep CLI
	$(PY) infra/scan.py $(SCANNER)/bin/checkov $(BICEP)

# Half an hour. The whole of the backups takes another half: python -m bench.backup
# All of them run, whichever misses a floor.
bench: $(INSTALLED) ## measure sealing, requests, load, growth, starting, backups, attacks and audit logs against their bars
	@failed=0; \
	for each in seal upload load coldstart scale "backup --quick" "hostile --quick" "audit --quick"; do \
		echo "$(PY) -m bench.$$each"; \
		$(PY) -m bench.$$each || failed=$$?; \
	done; \
	exit $$failed

scale: $(INSTALLED) ## measure whether operations cost the same with 1 thousand and with 100 thousand documents
	$(PY) -m bench.scale

lock: ## resolve pyproject.toml into the pinned, hashed requirements
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	$(LOCK) pyproject.toml --python-version 3.11 --output-file requirements.txt
	$(LOCK) pyproject.toml --python-version 3.11 --group dev --constraint requirements.txt \
		--output-file requirements-dev.txt
	$(LOCK) --group worker --python-version 3.13 --no-deps --output-file requirements-worker.txt
	$(LOCK) --group readers --python-version 3.13 --no-deps --output-file requirements-readers.txt

clean: ## remove what the tools made; data/ stays
	rm -rf $(VENV) $(SCANNER) $(WORKER) $(READERS) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage \
		.import_linter_cache tests/support/emulators/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
