# The verbs of this repository. Each sets up what it needs in a virtual environment of its own and is fast afterwards.
#
#   make test ARGS="-k gaussian"                   arguments are passed on
#   make test PYTHON=python3.12 VENV=.venv-3.12    another interpreter, beside the first

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
ARGS ?=

BIN := $(VENV)/bin

.DEFAULT_GOAL := help
# Two pips in one environment at once would break it.
.NOTPARALLEL:
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: $(VENV)/.ready-examples ## train on real tables with every kind of noise, print and draw what it does to robustness
	$(BIN)/python examples/demo.py $(ARGS)

# One thread for the BLAS and OpenMP of scipy and scikit-learn: each worker has a core to itself, not two. XLA is left
# as it is: measured with two workers on two cores, neither compiling nor running gains from fewer of its threads.
.PHONY: test test-slow
test test-slow: export OMP_NUM_THREADS ?= 1
test test-slow: export OPENBLAS_NUM_THREADS ?= 1
test test-slow: export MPLBACKEND = Agg
test: $(VENV)/.ready-test ## run the tests, all laws over all noises among them
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(ARGS)

test-slow: $(VENV)/.ready-test ## run the tests that take longer: statistics, sweeps, every example
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow $(ARGS)

.PHONY: lint
lint: $(VENV)/.ready-lint ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

.PHONY: bench
bench: $(VENV)/.ready-bench ## measure, print the tables and write benchmarks/results (SMOKE=1: only see that it runs)
	$(BIN)/python -m benchmarks.run $(if $(SMOKE),--smoke) $(ARGS)

.PHONY: bench-readme
bench-readme: $(VENV)/.ready-bench ## measure, and write the README's tables (ARGS=--from-results: without measuring)
	$(BIN)/python -m benchmarks.run --readme $(ARGS)

.PHONY: bench-compile
bench-compile: $(VENV)/.ready-bench ## compile for an H200 without one and count instructions (ARGS=--gate: hold the budgets)
	$(BIN)/python -m benchmarks.instructions $(ARGS)

# On a machine with a GPU, which may have no network: with the Python that is there, not one of our own.
.PHONY: bench-gpu
bench-gpu: ## on a machine with a GPU: every benchmark and the tests, in nine minutes (OUT=: where to)
	PYTHON=$(PYTHON) benchmarks/gpu_visit.sh

.PHONY: examples
examples: export NOISEJAX_QUICK = 1
examples: export MPLBACKEND = Agg
examples: $(VENV)/.ready-examples ## run every example with a tiny budget
	@set -e; for example in examples/[a-z]*.py; do echo "== $$example"; $(BIN)/python "$$example"; done

.PHONY: clean
clean: ## remove the environment and everything that is made again
	test ! -f $(VENV)/pyvenv.cfg || rm -rf $(VENV)
	rm -rf build dist docs/_build examples/out .hypothesis .pytest_cache .ruff_cache
	find noisejax tests examples benchmarks docs -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp is written last, so that a set-up that was interrupted is taken up again. Groups came with pip 25.1.
$(VENV)/.ready-pip:
	@echo "Setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "noisejax needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.ready-%: pyproject.toml $(VENV)/.ready-pip
	@echo "Installing what '$*' needs into $(VENV) (minutes the first time)"
	@$(BIN)/python -m pip install --quiet --editable . --group $*
	@touch $@
