# `make` lists the targets. Everything runs from .venv, which is made from requirements.lock.
# Needs Python 3.11-3.13 and PyPI. For another Python, as a .venv that is there keeps
# its own: make clean, then make PYTHON=python3.12 test

PYTHON  ?= python3
JOBS    ?= 2
ENGINE  ?= loky
SEEDS   ?= 10
STUDIES ?= lenets table4 table2 table3 momentum assumptions explain growth controls controls_on_noise noise permuted
# Studies whose trained networks are measured: noise, what the masks cover, interventions.
MEASURE ?= lenets controls controls_on_noise noise permuted
# Further networks of results/PLAN.md, trained and measured.
MORE := "lenets --seeds 10 --first-seed 10" "noise --seeds 5 --first-seed 10 --models lenet5_attention"
# Minutes for each network of Table 1 that is larger than LeNet: 100 epochs of all need a GPU.
BUDGET  ?= 60

GPU_FOLDER ?= build/gpu

# Which notebooks `make notebooks` executes: make notebooks ONLY=notebooks/01_look_at_the_data.py
ONLY    ?= $(wildcard notebooks/[0-9]*.py)
EXECUTED := $(patsubst %,build/%,$(wildcard notebooks/[0-9]*.ipynb))

BIN     := .venv/bin
LOCKED  := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
EXECUTE := $(BIN)/python -m nbconvert --log-level WARN --to notebook --execute \
  --KernelManager.transport_encryption=auto
# A diff of a notebook shows what changed in it, not when and where it ran.
STABLE  := --ExecutePreprocessor.record_timing=False --ClearMetadataPreprocessor.enabled=True \
  --ClearMetadataPreprocessor.preserve_cell_metadata_mask=tags \
  --ClearMetadataPreprocessor.preserve_cell_metadata_mask=nbmake \
  --ClearMetadataPreprocessor.preserve_nb_metadata_mask=kernelspec

# The four files of MNIST beside the checkout save the download.
ifneq ($(wildcard ../shared/mnist/*.gz),)
MNIST_ATTENTION_DATA ?= $(abspath ../shared/mnist)
export MNIST_ATTENTION_DATA
endif

.PHONY: help setup reproduce executed site test test-slow verify paper gpu bench torture notebooks lock clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup: .venv/project.stamp ## make .venv from requirements.lock, with the project in it

.venv/lock.stamp: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	{ echo "Expected Python 3.11, 3.12 or 3.13. Received: $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make PYTHON=python3.12"; exit 1; }
	@echo "== Setting up .venv from requirements.lock (a few minutes, once)"
	@$(PYTHON) -m venv --clear .venv
# One package comes as source: it is built with the locked tools, not with the newest.
	@awk '/^[a-z]/ { keep = /^(packaging|setuptools|wheel)==/ } keep' $< > .venv/build-tools.txt
	@$(LOCKED) --require-hashes -r .venv/build-tools.txt
	@$(LOCKED) --require-hashes --no-build-isolation -r $<
	@touch $@

.venv/project.stamp: .venv/lock.stamp pyproject.toml
	@$(LOCKED) --no-build-isolation --editable .
	@touch $@

reproduce: setup ## get the data, execute the notebooks, rebuild figures and tables, build the site
	@echo "== 1/4 The data"
	@$(BIN)/mnist-attention data --fallback
	@echo "== 2/4 The notebooks, with their figures ($(JOBS) at a time)"
	@rm -rf build/notebooks
	@$(MAKE) --no-print-directory -j$(JOBS) executed
	@echo "== 3/4 The tables of README and REPORT, from the records in results/"
	@$(BIN)/mnist-attention report --write
	@echo "== 4/4 The site, from the notebooks as executed here"
	@$(BIN)/python site/build.py --jobs $(JOBS) --notebooks build/notebooks

executed: $(EXECUTED)

build/notebooks/%.ipynb: notebooks/%.ipynb
	@echo "   $* ..."
	@$(EXECUTE) --output-dir build/notebooks $<
	@echo "   $* is done"

site: setup ## build the web site from the notebooks as committed, README, REPORT and docstrings
	@$(BIN)/python site/build.py --jobs $(JOBS)

test: setup ## lint, unit tests, and every notebook with small parameters
	@echo "== 1/2 Lint"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache
	@echo "== 2/2 Unit tests, and the notebooks with small parameters"
	@$(BIN)/pytest --nbmake -n $(JOBS) --dist loadfile notebooks tests

test-slow: setup ## the tests that take minutes: kills, clusters, large networks, the site in a browser
	@$(BIN)/pytest -m slow -n $(JOBS) --dist loadfile

verify: setup ## train the paper's pair again (15 minutes) and compare with its records
	@$(BIN)/mnist-attention verify

paper: setup ## the runs of every study that have no record: days on a CPU for all; resumable (SEEDS=10 BUDGET=60 ENGINE=loky)
	@status=0; \
	run() { $(BIN)/mnist-attention "$$@" || status=$$?; test $$status -lt 130 || exit $$status; }; \
	for study in $(STUDIES); do \
	  echo "== $$study, $(SEEDS) seeds"; \
	  run study $$study --seeds $(SEEDS) --engine $(ENGINE); \
	done; \
	echo "== More seeds and epochs, as results/PLAN.md has them"; \
	run study momentum --seeds 3 --epochs 100 --engine $(ENGINE); \
	for more in $(MORE); do run study $$more --engine $(ENGINE); done; \
	echo "== The whole Table 1, one seed, $(BUDGET) minutes for each network"; \
	run study table1 --budget-minutes $(BUDGET) --engine $(ENGINE); \
	echo "== Measuring the networks of $(MEASURE)"; \
	for networks in "$(MEASURE) --seeds $(SEEDS)" $(MORE); do run measure $$networks; done; \
	run report; \
	exit $$status

# No `setup`: a borrowed machine may have JAX and Keras, and neither TensorFlow nor a registry.
gpu: ## the next nine minutes of the runs that need a GPU; repeat until it says "done" (GPU_FOLDER=build/gpu)
	@PYTHONPATH="src$${PYTHONPATH:+:$$PYTHONPATH}" PYTHONUNBUFFERED=1 \
	  $(firstword $(wildcard $(BIN)/python) $(PYTHON)) -m mnist_attention.studies.gpu $(GPU_FOLDER)

bench: setup ## the benchmarks that need no GPU
	@$(BIN)/mnist-attention bench throughput
	@$(BIN)/mnist-attention bench scaling
	@$(BIN)/mnist-attention bench maps

torture: setup ## a run killed a hundred times equals the unbroken run
	@$(BIN)/pytest -m torture

notebooks: setup ## execute the notebooks in full and write the .ipynb that are committed
	@for source in $(ONLY); do \
	  echo "== $$source"; \
	  notebook=$${source%.py}.ipynb; \
	  $(BIN)/jupytext --quiet --update --to ipynb $$source && \
	  $(EXECUTE) $(STABLE) --inplace $$notebook && \
	  touch $$source && $(BIN)/jupytext --quiet --sync $$source || exit 1; \
	done

lock: ## rebuild requirements.lock from pyproject.toml (newest versions: UPGRADE=--upgrade)
	@$(PYTHON) -m venv --clear build/uv
	@build/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
	@build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  --extra notebooks --extra site --extra jax --extra cluster --extra dev $(UPGRADE) \
	  --output-file requirements.lock pyproject.toml
	@rm -rf build/uv

clean: ## delete .venv, caches and build (with GPU records not yet merged); never results, weights or figures
	@rm -rf .venv build .pytest_cache .ruff_cache
	@find src tests notebooks -name __pycache__ -type d -prune -exec rm -rf {} +
