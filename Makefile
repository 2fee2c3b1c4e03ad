# Everything a newcomer, a developer and CI need. Each target makes the environment it runs in.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed
# Those that need no data of their own.
EXAMPLES := own_operator cluster_spectrum_image find_hits run_to_crystfel sort_drops marco_records sort_new_plates

.PHONY: demo test test-slow check lint docs examples bench bench-all bench-gpu clean

demo: $(STAMP)
	$(BIN)/pycroclass demo --output demo_output --overwrite

test: $(STAMP)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q

test-slow: $(STAMP)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -m slow

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test

docs: $(STAMP)
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

examples: $(STAMP)
	for script in $(EXAMPLES); do echo $$script; $(BIN)/python examples/$$script.py || exit 1; done

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[all,test,lint,docs]'
	touch $(STAMP)

bench: $(STAMP)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m benchmarks --quick --repeats 2

bench-all: $(STAMP)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m benchmarks

bench-gpu: $(STAMP)
	$(BIN)/python -m benchmarks classify_gpu

clean:
	rm -rf $(VENV) demo_output docs/_build build *.egg-info
