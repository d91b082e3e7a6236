# Everything a developer or a new user runs. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Python compiles what is imported, when it is; compiling all of it takes minutes. It keeps the
# result, also where the environment forbids it: every process would compile torch again, in 7 s.
export PYTHONDONTWRITEBYTECODE :=
INSTALL := $(BIN)/python -m pip --disable-pip-version-check --quiet install --no-compile
READY := $(VENV)/.ready
PINS := constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-faults test-floor coverage site bench bench-gpu notebooks format lint typecheck clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with all dependencies and fast-slic (other targets do this by themselves)

$(READY): pyproject.toml $(PINS)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "cast_exp needs Python 3.11 to 3.13; name one with: make setup PYTHON=python3.11"; exit 1; }
	@echo "setting up $(VENV); the first time takes a few minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) -c $(PINS) pip numpy cython setuptools wheel
	@$(INSTALL) -c $(PINS) -e '.[dev,docs,eval,huggingface,notebooks,onnx,open,report,sweep,wandb,tensorboard,webdataset]'
	@$(INSTALL) --no-build-isolation 'fast-slic==0.4.0' || \
	  echo "note: fast-slic did not build (it needs a C++ compiler and Python's headers); all else works without it"
	@touch $@

demo: $(READY) ## Pretrain a small CAST on embedded data on the CPU, measure it, and segment a picture
	@$(BIN)/python -m cast_exp.train experiment=shapes_moco evaluate_untrained=true \
	  evaluate=[knn,linear_probe,retrieval,figure_ground,hierarchy] paths.runs=runs
	@$(BIN)/python -m cast_exp.segment docs/creatures.png --html --out runs/page --overwrite \
	  --checkpoint "$$(ls -td runs/shapes_moco/*/ | head -1)" --size 160 --superpixels 196 --levels 48,24,12
	@$(BIN)/cast-exp report "$$(ls -td runs/shapes_moco/*/ | head -1)" --title "make demo" --out runs/page/report.html
	@echo "pages    runs/page/creatures/page.html and runs/page/report.html: open them in a browser"

test: $(READY) ## Run the test suite
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not faults" -n 2

test-slow: $(READY) ## Run the long tests as well
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not faults" -n 2

test-faults: $(READY) ## Run the tests that kill processes and fill disks, many times over
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m faults -n 2

test-floor: ## Run the test suite with the oldest versions that are supported, in .venv-floor
	@$(MAKE) --no-print-directory VENV=.venv-floor PINS=constraints-floor.txt test

coverage: $(READY) ## Run the test suite and tell how much of the code it runs
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not faults" -n 2 --cov

site: $(READY) ## Build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(READY) ## Time our operators, superpixels and models against the obvious alternatives
	@for file in $(filter-out benchmarks/g% benchmarks/loader.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$file || exit 1; done

bench-gpu: $(READY) ## Time training and encoding on a GPU, into results/speed.md
	@$(BIN)/python benchmarks/gpu.py

notebooks: $(READY) ## Make the notebooks from their scripts
	@$(BIN)/python notebooks/generate.py

format: $(READY) ## Format the code and mend what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: $(READY) ## Check format, style, and that imports go down only
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-cache

typecheck: $(READY) ## Check the types, strictly
	@$(BIN)/mypy

clean: ## Remove the environment and caches; runs/ stays
	@rm -rf $(VENV) .venv-floor site .mypy_cache .ruff_cache .pytest_cache
