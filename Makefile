# make setup | run | test; the last two set up first if needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAUNCH := $(BIN)/python -m benchmark.launch --methods all --preset quick --executor local

.PHONY: setup run test

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

run: setup
	$(LAUNCH) --suite toy
	$(LAUNCH) --suite ogbench

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -n logical --dist loadgroup --cov --cov-report=term
