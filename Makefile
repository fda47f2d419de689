# CineBook: `make run` starts a cinema, `make test` tests it. Both set up all that they need.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Words for pytest, e.g.  make test ARGS="tests/seating -k layout"
ARGS   ?=
# How many test processes run side by side.
JOBS   ?= 2
# The soak: how long, with which dice, which faults and how many people; more words in OPTIONS (--help tells them).
SECONDS ?= 900
SEED    ?=
FAULTS  ?= all
CLIENTS ?= 24
OPTIONS ?=

.PHONY: help run test soak bench check format clean
.DEFAULT_GOAL := help

help:
	@echo "make run     start CineBook here: web, worker, beat, PostgreSQL and Redis"
	@echo "make test    run all tests (ARGS=… goes to pytest)"
	@echo "make soak    run a whole cinema with people and faults, and judge it (SECONDS, SEED, FAULTS, CLIENTS, OPTIONS)"
	@echo "make bench   measure CineBook beside a textbook implementation, on a machine with nothing else to do (OPTIONS)"
	@echo "make check   run what needs no test: style, types, the import law, templates, migrations"
	@echo "make format  put the code into shape"
	@echo "make clean   remove the virtual environment and what the tools left (your data in var/ stays)"

run: $(VENV)/installed
	@exec $(BIN)/python -m cinebook.engines run

test: $(VENV)/installed-dev
	@exec $(BIN)/python -m cinebook.engines exec -- $(BIN)/python -m pytest -n $(JOBS) $(ARGS)

soak: $(VENV)/installed-dev
	@exec $(BIN)/python -m tests.soak --seconds $(SECONDS) --seed "$(SEED)" --faults "$(FAULTS)" --clients $(CLIENTS) $(OPTIONS)

bench: $(VENV)/installed-dev
	@exec $(BIN)/python -m bench.compare --out bench/results $(OPTIONS)

check: $(VENV)/installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@SECRET_KEY=check $(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/djlint templates --check --lint --quiet
	@SECRET_KEY=check $(BIN)/python -W ignore manage.py makemigrations --check --dry-run --verbosity 1
	@SECRET_KEY=check $(BIN)/python manage.py check

format: $(VENV)/installed-dev
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .
	@$(BIN)/djlint templates --reformat --quiet

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "CineBook needs Python 3.11 or newer: install python3." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "CineBook needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try PYTHON=python3.12 make run." >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV) …"
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "Python cannot make virtual environments here: install the package python3-venv." >&2; exit 1; }

# The stamps are written last, so that an installation that broke off is taken up again.
$(VENV)/installed: requirements.txt | $(BIN)/python
	@echo "Installing what CineBook runs on (requirements.txt) …"
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt requirements.txt | $(BIN)/python
	@echo "Installing what the tests need (requirements-dev.txt) …"
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/installed
