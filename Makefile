# One command equals CI: `make test`. The first call builds .venv; later calls reuse it.
#
#   make demo    the shipped contracts, from events to a forecast, into ./demo-output
#   make test    style, types, tests (what CI runs)
#   make slow    the tests that take minutes
#   make bench   the benchmarks
#   make clean   remove .venv, caches and demo-output
#
# Another interpreter: make test PYTHON=/path/to/python3.12

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test lint slow bench clean

# Compiled bytecode and numba's cache make every later start faster, whatever the shell says about it.
unexport PYTHONDONTWRITEBYTECODE
# A PYTHONPATH or PYTHONHOME from outside would put foreign packages before those of .venv.
unexport PYTHONPATH
unexport PYTHONHOME

BIN := .venv/bin
STAMP := .venv/.complete

help:
	@sed -n '3,7s/^# *//p' Makefile

demo: $(STAMP)
	$(BIN)/clvforecast demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -q

slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow

bench: $(STAMP)
	$(BIN)/python benchmarks/fit_and_score.py

clean:
	rm -rf .venv demo-output build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find src tests -type d -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt .ci/venv
	@PYTHON="$(PYTHON)" .ci/venv $(STAMP)
