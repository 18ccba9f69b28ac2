# Every target does its own set-up: `make demo` or `make test` is all a fresh machine needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

QUICK := tests/schema tests/data tests/erasure/test_certificate.py tests/erasure/test_intake.py tests/erasure/test_plan.py \
  tests/reports tests/state tests/privacy/test_events.py tests/test_config.py tests/state/test_journal.py tests/state/test_roles.py \
  tests/test_threats.py tests/api/test_callback_urls.py \
  --ignore tests/schema/test_constraints.py --ignore tests/schema/test_codec.py --ignore tests/data/test_ingest_table.py

# Without compiled files every process that a test starts compiles the package again.
unexport PYTHONDONTWRITEBYTECODE
TEST := $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: install ui demo test quick lint bench slow oracle faults mutants wheel reference template constraints

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt install.py
	@$(PYTHON) install.py $(VENV) dev
	@touch $@

ui: install
	$(BIN)/workbench ui

demo: install
	@echo "Running the whole job on the bundled Adult table: import, generator, models, erasure, proof. Half a minute."
	@$(BIN)/workbench demo

# WORKBENCH_TEST_SEED=7 make test: in another order.
test: install
	$(TEST)

# While you write code: the rooms without doors, servers and MLflow.
quick: install
	$(TEST) $(QUICK)

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python benchmarks/erasure.py
	$(BIN)/python benchmarks/quarantine.py
	$(BIN)/python benchmarks/evidence.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/api.py
	$(BIN)/python benchmarks/synthesis.py --generators aim mst independent --datasets adult

slow: install
	$(TEST) -m slow

# The inference engine against mbi, which nothing else here needs.
oracle: install
	$(PYTHON) install.py $(VENV) dev oracle
	$(BIN)/python -m pytest tests/generators/against_mbi.py

# Kills and errors at every system call of an erasure, an append, a restore and a key rotation; `make faults STRIDE=20` takes
# each 20th. What survived is noted per state of the code, so an interrupted sweep goes on where it was.
STRIDE ?= 1
CODE = $(shell find workbench tests/faults tests/conftest.py -name '*.py' | LC_ALL=C sort | xargs cat | sha256sum | cut -c 1-12)
faults: install
	@log=$(VENV)/faults-$(CODE).jsonl; trap "PYTHONPATH=.:tests $(BIN)/python tests/faults/harness.py $$log" EXIT; trap "exit 130" INT TERM; \
	  WORKBENCH_FAULTS_LOG=$$log WORKBENCH_FAULTS_STRIDE=$(STRIDE) $(BIN)/python -m pytest -vv -n 2 -m faults tests/faults

# Break each promise of the threat model: a test that its row names must fail. Under half an hour; ROWS="T07 T13" for some.
mutants: install
	$(BIN)/python tests/mutants/run.py $(ROWS)

wheel: install
	$(BIN)/python -m build --wheel

# The pages of docs/reference, from the code.
reference: install
	$(BIN)/python docs/generate.py

# How new databases are made without their migrations: after each new revision of ours, and each new release of MLflow.
template: install
	$(BIN)/python -c "from workbench.state.database import write_template; print(write_template())"
	$(BIN)/python -c "from workbench.tracking.new_store import write_template; print(write_template())"

# Resolve anew, after pyproject.toml changed: the full resolution of everything the project installs.
constraints:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --editable ".[dev]"
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt
