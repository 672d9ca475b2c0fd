# make setup | run | test | test-kills | test-python PYTHON=... | test-lowest; all but the first set up first if needed.
VENV := .venv
BIN := $(VENV)/bin
OTHER := .venv-other
LAUNCH := $(BIN)/python -m benchmark.launch --methods all --preset quick --executor local
INSTALL := -m pip install --quiet --disable-pip-version-check
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# The first that fits; 3.14 has no mujoco<3.4.
PYTHON ?= $(shell for each in python3 python3.12 python3.13 python3.11; do \
	$$each -c '$(FITS)' 2>/dev/null && echo $$each && break; done)

.PHONY: setup run test test-kills test-python test-lowest fits

setup: $(VENV)/installed

fits:
	@$(PYTHON) -c '$(FITS)' 2>/dev/null || { echo "error: $(or $(PYTHON),python3) is not Python 3.11, 3.12 or 3.13:" \
		"install one of them (3.12, if in doubt), and name it if it is not found: make PYTHON=/path/to/python3.12" >&2; exit 2; }

# The empty labmaze first: dm_control asks for the real one, which has no wheel for 3.13, and pip can't leave it out.
$(VENV)/installed: pyproject.toml constraints.txt envs/ogbench/labmaze/pyproject.toml | fits
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) ./envs/ogbench/labmaze
	$(BIN)/python $(INSTALL) -c constraints.txt -e ".[test]"
	touch $@

run: setup
	$(LAUNCH) --suite toy
	$(LAUNCH) --suite ogbench

# A package of its own size, which only its own tests and bases need.
$(VENV)/torch: $(VENV)/installed
	$(BIN)/python $(INSTALL) -c constraints.txt -e ".[torch]"
	touch $@

test: setup $(VENV)/torch
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -n logical --dist loadgroup --cov --cov-report=term
ifeq ($(CI),true)
	$(MAKE) test-python PYTHON="env PYENV_VERSION=3.13 python3.13"
endif

# The fault injection of the test suite with fifty kills in place of six.
test-kills: setup
	$(BIN)/python -m pytest -s tests/benchmark/test_kills.py --kills 50

# Another Python: what a user installs, in an environment of its own, and two methods on a toy world to the leaderboard.
test-python: BOUNDS = cp constraints.txt $(OTHER)/bounds.txt
# The lowest versions that pyproject.toml allows, as if they were the only ones.
test-lowest: BOUNDS = $(OTHER)/bin/python -c 'import re, tomllib; \
	asked = tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]; \
	print(*(re.sub(">=([^,]+).*", r"==\1", each) for each in asked), sep="\n")' > $(OTHER)/bounds.txt

test-python test-lowest: fits
	rm -rf $(OTHER)
	$(PYTHON) -m venv $(OTHER)
	$(BOUNDS)
	$(OTHER)/bin/python $(INSTALL) ./envs/ogbench/labmaze
	$(OTHER)/bin/python $(INSTALL) -c $(OTHER)/bounds.txt .
	cd $(OTHER) && bin/python -m benchmark.launch --suite toy --methods flow,fql --tasks bandit-v0 --seeds 0-1 \
		--preset quick --executor local
	rm -rf $(OTHER)
