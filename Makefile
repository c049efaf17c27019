# make demo: the whole product on a CPU. make test: its tests. make new DEST=path: your project.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= $(CURDIR)/build/demo
DEST ?=
DIRTY ?=
# Sets of the demo: those that take minutes with generated answers are left to `make evaluate`.
SETS = fin_sentiment,fin_mcq,fin_numeric,fin_nli,fin_stance,guard_mcq,guard_exact,guard_text
export DEST
COPY = "$(CURDIR)/$(VENV)/bin/copier" copy --vcs-ref=HEAD
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help demo new test test-project test-fast test-slow test-jobs tables lock lint clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/copier.ok ## render a financial project and run its whole pipeline on this machine
	$(COPY) --defaults --overwrite -d project_name="Financial demo" -d 'domains=[financial]' "$(CURDIR)" "$(DEMO)"
	cd "$(DEMO)" && (test -d .git || git init --quiet)
	cd "$(DEMO)" && $(MAKE) setup PYTHON="$(PYTHON)"
	cd "$(DEMO)" && $(MAKE) all SET="eval.sets=[$(SETS)]"

new: $(VENV)/copier.ok ## answer the questions and get your project: make new DEST=../my-project
	@test -n "$$DEST" || { echo "error: DEST is empty; allowed: a path; do: make new DEST=../my-project" >&2; exit 2; }
	@test -n "$(DIRTY)" || test -z "$$(git status --porcelain)" || { echo "error: the template has uncommitted files, and a project copied from them could never be updated; do: commit or remove them (git status), or add DIRTY=1 for a trial" >&2; exit 2; }
	$(COPY) "$(CURDIR)" "$$($(VENV)/bin/python -c 'import os; print(os.path.abspath(os.path.expanduser(os.environ["DEST"])))')"

test: $(VENV)/test.ok ## everything that CI runs, both parts side by side
	@mkdir -p build
	@$(MAKE) test-fast > build/test-fast.log 2>&1 & fast=$$!; \
	$(MAKE) test-project; project=$$?; \
	wait $$fast; fast=$$?; cat build/test-fast.log; \
	test "$$project $$fast" = "0 0"

test-project: $(VENV)/test.ok ## what needs a rendered project with its libraries
	$(VENV)/bin/python -m pytest -m "project and not slow"

test-fast: $(VENV)/test.ok ## rendering and tables only, no model
	$(VENV)/bin/python -m pytest -m "not project and not slow"

test-slow: $(VENV)/test.ok ## drills as well: the full demo
	$(VENV)/bin/python -m pytest -m "slow or not slow"

test-jobs: $(VENV)/test.ok ## job files against the schemas of their services (some 200 MB of packages)
	$(VENV)/bin/pip install --quiet -r tests/requirements-jobs.txt
	$(VENV)/bin/python -m pytest tests/test_job_schemas.py

tables: $(VENV)/test.ok ## regenerate what is compiled from the tables and the packs
	$(VENV)/bin/python hooks/build_tables.py
	for pack in domains/*/; do $(VENV)/bin/python hooks/generate.py $$(basename $$pack); done
	$(VENV)/bin/python hooks/build_items.py
	$(VENV)/bin/python hooks/check_packs.py --write

lock: $(VENV)/test.ok ## pin the newest versions that fit the rendered pyproject.toml
	$(VENV)/bin/python hooks/build_lock.py

lint: $(VENV)/test.ok ## style of hooks and tests
	$(VENV)/bin/ruff check hooks tests
	$(VENV)/bin/ruff format --check hooks tests

clean: ## remove what make created
	rm -rf build .venv .pytest_cache .ruff_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is too old; allowed: Python 3.11 or newer; do: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/copier.ok: $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet 'copier>=9.19'
	touch $@

$(VENV)/test.ok: $(VENV)/copier.ok tests/requirements.txt
	$(VENV)/bin/pip install --quiet -r tests/requirements.txt
	touch $@
