# Every target does its own set-up: `make demo` or `make test` is all a fresh machine needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test lint bench slow faults wheel constraints

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: install
	$(BIN)/workbench demo

test: install
	$(BIN)/python -m pytest -n 2

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python benchmarks/erasure.py
	$(BIN)/python benchmarks/quarantine.py

slow: install
	$(BIN)/python -m pytest -n 2 -m slow

# Kills and errors at every system call of an erasure; wants strace (apt-get update && apt-get install -y strace).
# Hours on two cores: `make faults STRIDE=20` takes each 20th call.
STRIDE ?= 1
FAULTS := $(VENV)/faults.jsonl
faults: install
	rm -f $(FAULTS)
	WORKBENCH_FAULTS_LOG=$(FAULTS) WORKBENCH_FAULTS_STRIDE=$(STRIDE) $(BIN)/python -m pytest -n 2 -m faults tests/faults; \
	  code=$$?; PYTHONPATH=. $(BIN)/python tests/faults/harness.py $(FAULTS); exit $$code

wheel: install
	$(BIN)/python -m build --wheel

# Resolve anew, after pyproject.toml changed: the full resolution of everything the project installs.
constraints:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --editable ".[dev]"
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt
