# One command equals CI: `make test`. The first call builds .venv; later calls reuse it.
#
#   make demo        the shipped contracts, from events to a forecast, into ./demo-output
#   make test        style, types, tests (what CI runs)
#   make slow        the tests that take minutes
#   make calibrate   simulation-based calibration of the whole line, and of planted faults: half an hour
#   make fuzz        a hundred thousand damaged and foreign files, each to be refused: minutes
#   make portfolios  how often ranges hold, over two hundred synthetic companies: a quarter of an hour
#   make kills       a hundred runs killed, with and without PostgreSQL, and what they leave: a quarter of an hour
#   make bench       time and memory of every stage, a thousand to a million accounts: half an hour
#   make bench-peers other packages on the same data, with a time limit each: hours
#   make clean       remove .venv, caches and demo-output
#
# Another interpreter: make test PYTHON=/path/to/python3.12

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test lint slow calibrate fuzz portfolios kills bench bench-peers bench-report clean

# Compiled bytecode and numba's cache make every later start faster, whatever the shell says about it.
unexport PYTHONDONTWRITEBYTECODE
# A PYTHONPATH or PYTHONHOME from outside would put foreign packages before those of .venv.
unexport PYTHONPATH
unexport PYTHONHOME

BIN := .venv/bin
STAMP := .venv/.complete

help:
	@sed -n '3,12s/^# *//p' Makefile

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

# Simulations that are there are not done again; `make clean` removes them. More: make calibrate SIMULATIONS=1000
SIMULATIONS ?= 300
calibrate: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m sbc run --simulations $(SIMULATIONS)
	PYTHONPATH=tests $(BIN)/python -m sbc faults --simulations $(SIMULATIONS)

# Less, or others: make fuzz FUZZ='--mutations 1000 --resealed 100 --unsealed 5 --seed 2'
fuzz: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m fuzz $(FUZZ)

portfolios: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m sbc portfolios --simulations 200

# Less, or others: make kills KILLS=5
KILLS ?= 50
kills: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m kills --kills $(KILLS)
	PYTHONPATH=tests $(BIN)/python -m kills --kills $(KILLS) --postgres

# What was measured on this machine and source is not measured again. More: make bench BENCH='--sizes 1e7 --states cold'
bench: $(STAMP)
	PYTHONPATH=benchmarks $(BIN)/python -m speed growth $(BENCH)
	PYTHONPATH=benchmarks $(BIN)/python -m speed report

# Makes .venv-peers on the first call: the other packages' pins differ. Less: make bench-peers PEERS='--sizes 1e3 --limit 600'
bench-peers: $(STAMP)
	PYTHONPATH=benchmarks $(BIN)/python -m speed peers $(PEERS)
	PYTHONPATH=benchmarks $(BIN)/python -m speed report

bench-report: $(STAMP)
	PYTHONPATH=benchmarks $(BIN)/python -m speed report

clean:
	rm -rf .venv .venv-peers bench-output demo-output calibration-output build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find src tests -type d -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt .ci/venv
	@PYTHON="$(PYTHON)" .ci/venv $(STAMP)
