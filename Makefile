# Everything a newcomer needs: `make demo` and `make test`. Both set themselves up in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo
JOBS ?= 2
PYTEST_FLAGS ?=

.PHONY: demo test bench docs lint format clean

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/.ready  ## simulate a cohort, prepare it, pre-train for some minutes, write a report page
	$(BIN)/python -m clef_jax.demo --out=$(DEMO)

test: $(VENV)/.ready  ## every test, slow ones too, in two processes or JOBS=N
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(PYTEST_FLAGS)

bench: $(VENV)/.ready  ## measure this machine in ten minutes; with a GPU, make bench EXTRA=cuda
	$(if $(EXTRA),$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(EXTRA)]')
	$(BIN)/python benchmarks/bench.py

docs: $(VENV)/.ready  ## the documentation as a site in build/docs, which opens without a server
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info
