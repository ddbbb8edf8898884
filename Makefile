# `make run` trains the quick start, `make test` runs the tests; each first makes .venv when it is missing or out of date.

PYTHON := .venv/bin/python
READY := .venv/.ready

# Further arguments: make run ARGS="--learner.steps 50", make test ARGS="tests/test_config.py -x"
ARGS ?=

.PHONY: help setup run test lint clean

help:
	@echo "make run     train the quick start (ARGS=... is passed to launch.py)"
	@echo "make test    run the tests (ARGS=... is passed to pytest)"
	@echo "make lint    ruff, mypy and the import contracts"
	@echo "make setup   only make the virtual environment .venv"
	@echo "make clean   remove .venv"

setup: $(READY)
	@echo ".venv is ready"

# The file is written last, so an interrupted set-up is taken up again.
$(READY): pyproject.toml constraints.txt scripts/setup.sh
	@bash scripts/setup.sh

run: $(READY)
	@$(PYTHON) launch.py $(ARGS)

test: $(READY)
	@$(PYTHON) -m pytest $(ARGS)

lint: $(READY)
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports

clean:
	rm -rf .venv
