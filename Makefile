# Every target does its own set-up: a virtual environment, the dependencies, the native build. The second time takes seconds.
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
NATIVE := setup.py build_cuda.py pyproject.toml $(shell find csrc -type f)
CXX_FILES = $(shell find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

# Without a compiler everything works, slowly; the next call tries to build again.
DONE = if test -f texfilters/_C.so; then touch $(VENV)/native.stamp; fi

.PHONY: help setup demo test test-slow lint format sanitize emulator triton cuda-check bench figures tables clean
.DELETE_ON_ERROR:

help:
	@echo "make demo       suppress the texture of some photos, beside MedPy; results in demo/"
	@echo "make test       everything that CI runs: format, types, tests, coverage"
	@echo "make test-slow  the slower proofs as well"
	@echo "make sanitize   the CPU kernels under the address and undefined-behavior sanitizers"
	@echo "make emulator   the CUDA kernels on the CPU, thread by thread, against the reference"
	@echo "make triton     the Triton kernels, interpreted on the CPU"
	@echo "make cuda-check registers and spills of every CUDA kernel; needs nvcc, but no GPU"
	@echo "make bench      time every function by size and backend"
	@echo "make figures    draw the figures of the README"
	@echo "make tables     measure against the peers and write the README's tables (minutes)"

setup: $(VENV)/native.stamp

$(VENV)/dependencies.stamp: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3"; exit 1; }
	$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch setuptools
	TEXFILTERS_NATIVE=0 $(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[test]'
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall opencv-contrib-python-headless
	touch $@

$(VENV)/native.stamp: $(VENV)/dependencies.stamp $(NATIVE)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(DONE)

demo: setup
	$(BIN)/python benchmarks/demo.py

figures: setup
	$(BIN)/python benchmarks/figures.py

lint: setup
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: setup
	$(BIN)/clang-format -i $(CXX_FILES)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Emulated and interpreted kernels take minutes on one core each, and nothing is timed there.
test: export TEXFILTERS_REQUIRE ?= native
test: lint
	$(MAKE) --jobs 2 --output-sync=target emulator triton
	$(PYTEST) --cov --ignore tests/triton --ignore tests/emulator -m "not slow"
	$(BIN)/python benchmarks/cuda_check.py || { test $$? -eq 2 && echo "cuda-check is skipped"; }

test-slow: export TEXFILTERS_REQUIRE ?= native
test-slow: test
	$(PYTEST) -m slow

# A build of its own beside the normal one. Python itself is not instrumented, so leaks cannot be told from its own.
sanitize: setup
	rm -rf build/sanitize
	TEXFILTERS_SANITIZE=1 TEXFILTERS_REQUIRE=native $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --target build/sanitize .
	LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
		PYTHONPATH=build/sanitize TEXFILTERS_REQUIRE=native \
		$(BIN)/python -P -m pytest tests/test_anisotropic_diffusion.py tests/test_threads.py tests/test_bad_input.py \
		tests/test_filters.py tests/test_filters_raw_ops.py tests/test_patch_negatives.py -p no:cacheprovider

# Twice: as it is, and under the sanitizers, which also see what goes beyond shared memory or an image.
emulator: setup
	$(PYTEST) tests/emulator
	LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
		TEXFILTERS_EMULATOR_SANITIZE=1 $(PYTEST) $(wildcard tests/emulator/test_emulated_*.py) \
		-p no:cacheprovider

triton: setup
	TRITON_INTERPRET=1 $(PYTEST) tests/triton -m "not slow"

cuda-check: setup
	$(BIN)/python benchmarks/cuda_check.py

bench: export TEXFILTERS_REQUIRE ?= native
bench: setup
	$(PYTEST) benchmarks --benchmark-only --benchmark-columns=median,iqr,rounds

tables: export TEXFILTERS_REQUIRE ?= native
tables: setup
	$(BIN)/python benchmarks/cpu_diffusion.py
	$(BIN)/python benchmarks/cpu_filters.py
	$(BIN)/python benchmarks/transform_draws.py
	$(BIN)/python benchmarks/loader_step.py
	$(BIN)/python benchmarks/ssl_step.py
	$(BIN)/python benchmarks/folder_job.py --folder /dev/shm
	$(BIN)/python benchmarks/folder_job.py
	$(BIN)/python benchmarks/tables.py

clean:
	rm -rf build dist demo *.egg-info texfilters/*.so texfilters/_build_info.json $(VENV)/native.stamp
