# make setup | run | test | test-kills; all but the first set up first if needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAUNCH := $(BIN)/python -m benchmark.launch --methods all --preset quick --executor local

.PHONY: setup run test test-kills

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

# The fault injection of the test suite with fifty kills in place of six.
test-kills: setup
	$(BIN)/python -m pytest -s tests/benchmark/test_kills.py --kills 50
