# Everything runs in .venv, made on first use. PYTHON chooses the interpreter (3.11 or 3.12).
PYTHON ?= python3
BIN := .venv/bin
MODEL ?=
WORKERS ?= 2

.PHONY: demo test test-lowest nightly lint bench clean

.venv/done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]' \
	  || { echo 'If pip cannot find torch 2.13.0+cpu, point PIP_EXTRA_INDEX_URL at the CPU wheels that the PyTorch install page names.'; exit 1; }
	touch $@

demo: .venv/done
	$(BIN)/python examples/demo.py $(MODEL)

lint: .venv/done
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Every night, as `nightly` is: whatever does not depend on the machine, with the lowest versions that are declared.
LOWEST := .venv-lowest/bin

.venv-lowest/done: pyproject.toml tests/lowest.txt
	$(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python -m pip install --quiet --upgrade pip
	$(LOWEST)/python -m pip install --quiet --constraint tests/lowest.txt --editable '.[dev]'
	touch $@

test-lowest: .venv-lowest/done
	$(LOWEST)/python -m pytest -n $(WORKERS) --dist worksteal tests/trace tests/golden tests/numeric tests/targets/tensorrt

nightly: .venv/done
	$(BIN)/python -m pytest -m nightly -rs

bench: .venv/done
	$(BIN)/python benchmarks/shared_tail.py
	$(BIN)/python benchmarks/quantize.py

clean:
	rm -rf .venv .venv-lowest build dist *.egg-info demo-out
