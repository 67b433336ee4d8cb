# Everything runs in .venv, made on first use: `demo` and `bench` install what compiling needs, `lint`, `test` and
# `nightly` the developers' tools too. PYTHON chooses the interpreter (3.11 or 3.12).
PYTHON ?= python3
BIN := .venv/bin
MODEL ?=
WORKERS ?= 2

.PHONY: demo native test test-lowest nightly lint bench clean

# The libraries are left to `native`, which builds them once and does not hide what the compiler says.
EDITABLE := --config-settings wheel.cmake=false --editable
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt $(EDITABLE)
NO_TORCH := echo 'If pip cannot find torch 2.13.0+cpu, point PIP_EXTRA_INDEX_URL at the CPU wheels that the PyTorch install page names.'

# Releases of TensorRT whose bindings the tests compare ours with: they cannot stand in one environment.
BINDINGS := tests/targets/tensorrt/bindings.txt
OTHERS := $(BIN)/python -m pip install --quiet --no-deps --upgrade --target
NO_BINDINGS := echo 'These bindings are not to be had here; tests that compare with them are skipped.'

NO_LIBRARY := echo 'libg4ops, libg4cuda and libg4rt are not built: there is no cmake, or no c++. Products with codes are those of ONNX Runtime.'

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/compile: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) '.[compile]' || { $(NO_TORCH); exit 1; }
	if command -v cmake >/dev/null && command -v c++ >/dev/null; then $(MAKE) native; else $(NO_LIBRARY); fi
	touch $@

.venv/dev: .venv/compile $(BINDINGS)
	$(PIP) '.[dev]'
	grep -v '#' $(BINDINGS) | while read -r one beside; do \
	  $(OTHERS) .venv/tensorrt-bindings/$$one "tensorrt-cu13-bindings==$$one" $$beside || $(NO_BINDINGS); done
	touch $@

demo: .venv/compile
	$(BIN)/python examples/demo.py $(MODEL)

# The libraries, where the package looks for them.
native:
	cmake -S native -B build/native -DCMAKE_BUILD_TYPE=Release
	cmake --build build/native --target g4ops g4cuda g4rt --parallel $(WORKERS)
	rm -f g4compile/lib/libg4ops.so g4compile/lib/libg4cuda.so g4compile/lib/libg4rt.so  # sessions that run keep the old files
	cmake --install build/native --prefix g4compile

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Every night, as `nightly` is: whatever does not depend on the machine, with the lowest versions that are declared.
LOWEST := .venv-lowest/bin

.venv-lowest/done: pyproject.toml tests/lowest.txt
	$(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python -m pip install --quiet --upgrade pip
	$(LOWEST)/python -m pip install --quiet --constraint tests/lowest.txt $(EDITABLE) '.[dev]'
	touch $@

test-lowest: .venv-lowest/done
	$(LOWEST)/python -m pytest -n $(WORKERS) --dist worksteal tests/trace tests/golden tests/numeric tests/targets/tensorrt

nightly: .venv/dev
	$(BIN)/python -m pytest -m nightly -rs

bench: .venv/compile
	$(BIN)/python benchmarks/shared_tail.py
	$(BIN)/python benchmarks/quantize.py

clean:
	rm -rf .venv .venv-lowest build dist g4compile/lib *.egg-info demo-out
