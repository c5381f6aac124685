# The commands of this repository. Each installs what it needs into a virtual environment once and is fast afterwards.
#
#   make test ARGS="-k gaussian"                   ARGS is passed on
#   make test PYTHON=python3.13 VENV=.venv-3.13    a different interpreter, in its own environment

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
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: $(VENV)/.ready-examples ## train on real tables with each kind of noise, then print and plot the effect on robustness
	$(BIN)/python examples/demo.py $(ARGS)

# BLAS and OpenMP, which scipy and scikit-learn use, get one thread, since each worker has one core. XLA keeps its own
# setting: with two workers on two cores, fewer threads made neither compilation nor execution faster.
.PHONY: test test-slow test-one
test test-slow test-one: export OMP_NUM_THREADS ?= 1
test test-slow test-one: export OPENBLAS_NUM_THREADS ?= 1
test test-slow test-one: export MPLBACKEND = Agg
test: $(VENV)/.ready-test ## run the fast tests, including every law over every noise
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(ARGS)

# The name is matched as a whole part of a test's id, so that NOISE=mask does not run the laws of time_mask as well.
test-one: $(VENV)/.ready-test ## run the laws of one noise, fast and slow, in less than 30 seconds: make test-one NOISE=mask
	@test -n "$(NOISE)" || { echo "Name a noise: make test-one NOISE=mask"; exit 2; }
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/laws \
	  -k "[$(NOISE)] or [$(NOISE)- or -$(NOISE)] or -$(NOISE)-" $(ARGS)

test-slow: $(VENV)/.ready-test ## run the slow tests: statistics, sweeps, every example
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow $(ARGS)

.PHONY: test-engines
test-engines: $(VENV)/.ready-test $(VENV)/.ready-engines ## run the faults of data frames in Ray Data, Dask and Grain
	$(BIN)/python -m pytest -n 1 tests/frame/test_engines.py tests/frame/test_encode.py $(ARGS)

.PHONY: test-published
test-published: $(VENV)/.ready-test $(VENV)/.ready-published ## compare the corruptions of images with their published definitions (JSON=: file for the distances)
	$(BIN)/python -m pytest -n $(WORKERS) tests/image/test_published.py tests/image/test_light.py $(ARGS)
	PYTHONPATH=tests $(BIN)/python -m image.fidelity $(JSON)

.PHONY: lint
lint: $(VENV)/.ready-lint ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

.PHONY: build
build: $(VENV)/.ready-build ## build the wheel and the sdist, install each into an empty environment and try it there
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python tests/smoke.py dist/*.whl dist/*.tar.gz

.PHONY: listings
listings: $(VENV)/.ready-test ## write what is generated: the listings of functions, and the known answers of the noises
	$(BIN)/python -m docs.listing --write
	JAX_PLATFORMS=cpu $(BIN)/python tests/laws/known_answers.py

.PHONY: bench
bench: $(VENV)/.ready-bench ## measure, print the tables and write benchmarks/results (SMOKE=1: only check that it runs)
	$(BIN)/python -m benchmarks.run $(if $(SMOKE),--smoke) $(ARGS)

.PHONY: bench-page
bench-page: $(VENV)/.ready-bench ## measure, and write docs/results/speed.md (ARGS=--from-results: without measuring)
	$(BIN)/python -m benchmarks.run --page $(ARGS)

.PHONY: bench-compile
bench-compile: $(VENV)/.ready-bench ## compile for an H200 without having one and count instructions (ARGS=--gate: check the budgets)
	$(BIN)/python -m benchmarks.instructions $(ARGS)
	$(BIN)/python -m benchmarks.kernel_budgets $(ARGS)

# A machine with a GPU may have no network, so this uses the Python that is installed there.
.PHONY: bench-gpu
bench-gpu: ## on a machine with a GPU: run every benchmark and the tests in nine minutes (OUT=: output folder)
	PYTHON=$(PYTHON) benchmarks/gpu_visit.sh

.PHONY: examples
examples: export NOISEJAX_QUICK = 1
examples: export MPLBACKEND = Agg
examples: $(VENV)/.ready-examples ## run every example with a tiny budget
	@set -e; for example in examples/[a-z]*.py; do echo "== $$example"; $(BIN)/python "$$example"; done

.PHONY: docs
docs: $(VENV)/.ready-docs ## build the documentation site into docs/_build/html: every block of Python runs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --jobs 2 -b html -d docs/_build/doctrees docs docs/_build/html

.PHONY: clean
clean: ## remove the environment and all generated files
	test ! -f $(VENV)/pyvenv.cfg || rm -rf $(VENV)
	rm -rf build dist docs/_build docs/reference/pages examples/out .hypothesis .pytest_cache .ruff_cache
	find noisejax tests examples experiments benchmarks docs -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# The stamp is written last, so that an interrupted set-up starts again. pip 25.1 introduced dependency groups.
$(VENV)/.ready-pip:
	@echo "Setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "noisejax needs Python 3.11 or newer: make PYTHON=python3.13 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.ready-%: pyproject.toml $(VENV)/.ready-pip
	@echo "Installing the dependencies of '$*' into $(VENV) (this takes minutes the first time)"
	@$(BIN)/python -m pip install --quiet --editable . --group $*
	@touch $@
