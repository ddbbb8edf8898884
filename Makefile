# `make run` trains the quick start, `make test` runs the tests; each first makes .venv when it is missing or out of date.

VENV_PYTHON := .venv/bin/python
READY := .venv/.ready

# Further arguments: make run ARGS="--learner.steps 50", make test ARGS="tests/unit/config/test_config.py -x"
ARGS ?=
# Processes of pytest: more than cores, for a test of the whole mostly waits.
TEST_PROCESSES ?= 4

.PHONY: help setup run test test-unit lint docs clean

help:
	@echo "make run     train the quick start (ARGS=... is passed to launch.py)"
	@echo "make test    run the tests (ARGS=... is passed to pytest); make test-unit only those of tests/unit"
	@echo "make lint    ruff (rules and format), mypy and the import contracts"
	@echo "make docs    build the documentation into site/, strictly"
	@echo "make setup   only make the virtual environment .venv (FORCE=1: again, although it is up to date)"
	@echo "make clean   remove .venv"

setup: $(READY)
	@echo ".venv is ready"

ifneq ($(FORCE),)
.PHONY: $(READY)
endif
# The file is written last, so an interrupted set-up is taken up again.
$(READY): pyproject.toml constraints.txt scripts/setup.sh
	@bash scripts/setup.sh

run: $(READY)
	@$(VENV_PYTHON) launch.py $(ARGS)

test: $(READY)
	@$(VENV_PYTHON) -m pytest -n $(TEST_PROCESSES) $(ARGS)

# Those that start no other process, no Redis, no Ray and no sandbox: they wait for nothing.
test-unit: $(READY)
	@$(VENV_PYTHON) -m pytest -n 2 tests/unit $(ARGS)

# Every linter runs, whichever fails.
lint: $(READY)
	@status=0; \
	$(VENV_PYTHON) -m ruff check . || status=1; \
	$(VENV_PYTHON) -m ruff format --check . || status=1; \
	$(VENV_PYTHON) -m mypy || status=1; \
	.venv/bin/lint-imports --no-logo || status=1; \
	exit $$status

# Nothing is fetched: the theme, its fonts off, is a package, and formulas become MathML while the pages are built.
docs: $(READY)
	@$(VENV_PYTHON) scripts/architecture.py --check
	@$(VENV_PYTHON) scripts/tables.py --check
	@NO_MKDOCS_2_WARNING=1 $(VENV_PYTHON) -m mkdocs build --strict

clean:
	rm -rf .venv
