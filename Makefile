# `make help` lists the targets. Every path here is relative, so that a clone in a
# folder with spaces works.
PYTHON ?= python3
PROFILE ?= cpu
ARGS ?=
LAB_ARGS ?=
PYTEST_ARGS ?=
# Tests that want the machine to themselves, and those that start processes, of which
# two workers take a file each.
ALONE := slow and (browser or lesson)
PROCESSES := slow and process and not (browser or lesson)
FIRST := notebooks/00_start_here.ipynb

ifeq ($(OS),Windows_NT)
PY := .venv/Scripts/python
else
PY := .venv/bin/python
endif

.DEFAULT_GOAL := help
.PHONY: help setup lab course test notebooks bench lint clean

help: ## list these targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed 's/:.*## /	/' | expand -t 13
	@echo
	@echo 'PROFILE=smoke|cpu|gpu sizes the course; PYTHON=python3.12 names the Python to use;'
	@echo 'ARGS, LAB_ARGS and PYTEST_ARGS pass extra flags.'

setup: ## make .venv with the tested versions (once; the other targets call it)
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { echo 'llmkit: error: there is no $(PYTHON)' \
	'here: install Python 3.11 or newer, or name one: make setup PYTHON=python3.12' >&2; exit 1; }
	@"$(PYTHON)" .ci/setup_env.py

lab: setup ## open JupyterLab on lesson 00
	"$(PY)" -m jupyterlab --LabApp.default_url=/lab/tree/$(FIRST) $(LAB_ARGS)

course: setup ## execute every lesson headlessly (PROFILE=smoke|cpu|gpu), then print a table
	@"$(PY)" -m llmkit course --profile "$(PROFILE)" $(ARGS)

test: setup ## run all tests, the fast ones first
ifeq ($(PYTEST_ARGS),)
	@"$(PY)" -m pytest -m "not (slow and (process or browser or lesson))" -n 2 \
	--dist worksteal; quick=$$?; \
	"$(PY)" -m pytest -m "$(PROCESSES)" -n 2 --dist loadfile; processes=$$?; \
	"$(PY)" -m pytest -m "$(ALONE)" && exit $$((quick + processes))
else
	"$(PY)" -m pytest $(PYTEST_ARGS)
endif

notebooks: setup ## build notebooks/*.ipynb from notebooks/source
	@"$(PY)" -m llmkit notebooks $(ARGS)

bench: setup ## race `llmkit pretrain` against the usual loop
	"$(PY)" benchmarks/time_to_loss.py $(ARGS)

lint: setup ## check style and format
	"$(PY)" -m ruff check .
	"$(PY)" -m ruff format --check .

clean: ## remove what was built and the caches (.venv stays)
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
