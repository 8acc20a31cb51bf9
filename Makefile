# make run    set up what is missing, then serve http://127.0.0.1:5000
# make test   set up what tests need, then run all of them
# make seed   the whole walk of the README on MNIST, with its figures
# make tutorial   the pictures and the table of docs/autoencoder.md, from its walk on MNIST
# make bench  how fast it is beside others, as the README's table of figures
# make lint   what `make test` begins with: style, types, import directions

PYTHON ?= python3
BIN := .venv/bin
PAGE_SOURCES := package.json package-lock.json hatch_build.py $(shell find static/js static/css -type f 2>/dev/null)

.PHONY: run test seed tutorial bench lint format lock clean

run: .venv/.installed
	$(BIN)/layerscope serve $(ARGS)

# Two files at a time, the longest folder first; then what needs the whole machine, if ARGS names anything of that (5: nothing).
test: .venv/.test-tools lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not alone' $(ARGS)
	$(BIN)/pytest -m alone $(ARGS) || [ $$? -eq 5 ]

# The walk of the README at full size. DATA: what `layerscope download-data mnist DATA` wrote.
seed: .venv/.test-tools
	LAYERSCOPE_MNIST=$(abspath $(DATA)) $(BIN)/pytest tests/browser/test_full_seed.py -s

# DATA as for `make seed`.
tutorial: .venv/.test-tools
	$(BIN)/python -m tests.browser.tutorial $(DATA)

# DATA as for `make seed`; without it, scikit-learn's digits. ARGS: `--quick`, `--write-readme`, or names of measurements.
bench: .venv/.bench-tools
	$(BIN)/python -m tests.benchmarks $(if $(DATA),--data $(abspath $(DATA))) $(ARGS)

lint: .venv/.test-tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.test-tools
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The lock holds for CPU and CUDA builds alike: the local part of torch's version is cut off.
lock: .venv/.bench-tools
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//; s/+cu[0-9]*$$//' | grep -v '^nvidia-.*-cu\|^cuda-\|^triton' > constraints.txt

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Layerscope needs Python 3.11 or newer.")'
	$(PYTHON) -m venv .venv || { rm -rf .venv; sh .ci/as-root apt-get update; sh .ci/as-root apt-get install -y python3-venv; $(PYTHON) -m venv .venv; }

.venv/.installed: .venv/bin/python pyproject.toml constraints.txt $(PAGE_SOURCES)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/.test-tools: .venv/.installed
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[test]'
	command -v chromium > /dev/null || { sh .ci/as-root apt-get update && sh .ci/as-root apt-get install -y --no-install-recommends chromium; } || $(BIN)/playwright install --with-deps chromium
	touch $@

.venv/.bench-tools: .venv/.test-tools
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[bench]'
	touch $@

clean:
	rm -rf .venv static/dist node_modules
