# make study: the river-valley study on this machine, from nothing to report.html; STUDY=curriculum: another one
# make test:  lint, types and every test
# make docs:  the pages of the API, from the docstrings, in build/docs
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDY ?= river_valley
WORKDIR ?= runs/$(STUDY)

.PHONY: study test docs benchmarks clean

$(VENV)/installed: pyproject.toml setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lrstudy needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

study: $(VENV)/installed
	$(BIN)/python -m experiments.$(STUDY) --preset=cpu --workdir=$(WORKDIR)

test: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=300 -n 2 notebooks
	$(BIN)/python -m pytest -n 2 --dist worksteal

docs: $(VENV)/installed-dev
	$(BIN)/python -m tests.documents.reference

benchmarks: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.executors
	$(BIN)/python -m benchmarks.lanes
	$(BIN)/python -m benchmarks.step_parts
	$(BIN)/python -m benchmarks.curvature
	$(BIN)/python -m benchmarks.planning
	$(BIN)/python -m benchmarks.reading

clean:
	rm -rf $(VENV) build dist *.egg-info
