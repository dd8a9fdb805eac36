# Everything runs in a virtual environment of its own; `make help` lists the targets.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed
STAMP := $(VENV)/.installed-for-development
ARGS ?=

# Of the searches: make search DATA=./images BACKBONE=resnet50 SPACE=full TRIALS=50 BUDGET=2h
DATA ?= builtin:digits
SPACE ?= quick
TRIALS ?= 30
ALGORITHM ?= random
OBJECTIVE ?= accuracy
BUDGET ?= 1h
N ?= 2
SEARCH ?= runs/search
SEARCHING = $(BIN)/tlkit search --data '$(DATA)' $(if $(BACKBONE),--backbone $(BACKBONE)) --algorithm $(ALGORITHM) --objective $(OBJECTIVE) --output $(SEARCH)

.DEFAULT_GOAL := help
SEARCHES := search search-quick search-full search-resume search-workers search-report
.PHONY: $(SEARCHES) help install demo test test-slow lint format bench recipes recipe clean-environment

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## Make the virtual environment and install tlkit and what its tests need

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	  || { echo "tlkit needs Python 3.11, 3.12 or 3.13 (TensorFlow has no other releases). Name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "Python's venv module is missing. On Debian or Ubuntu: sudo apt install python3-venv"; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV), once: about 0.7 GB to download, 2.5 GB on disk, 1 to 4 minutes."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(STAMP): $(RUNTIME)
	@echo "Installing what tests and exports need: about 0.3 GB to download, 1 GB on disk, 1 to 2 minutes."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(RUNTIME)  ## Fine-tune on scikit-learn's digits, end to end: about a minute after the installation
	@$(BIN)/tlkit clean runs/demo --yes >/dev/null 2>&1 || true
	@$(BIN)/tlkit demo $(ARGS)

test: lint  ## All fast tests, lint and types
	$(BIN)/python -m pytest -m 'not slow' -n 2 --dist loadfile $(ARGS)

test-slow: $(STAMP)  ## The long checks: all backbones and more
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(STAMP)  ## Style, imports and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## Put the code into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

search: $(RUNTIME)  ## Search hyperparameters: DATA=./images BACKBONE=resnet50 SPACE=head TRIALS=30 BUDGET=1h SEARCH=runs/search
	@$(SEARCHING) --space $(SPACE) --trials $(TRIALS) --time-budget $(BUDGET) $(ARGS)

search-quick: $(RUNTIME)  ## Search how much of the network trains and how fast, in 20 trials or 30 minutes
	@$(SEARCHING) --space quick --trials 20 --time-budget 30m $(ARGS)

search-full: $(RUNTIME)  ## Search everything that fine-tuning has, in 100 trials or 12 hours
	@$(SEARCHING) --space full --trials 100 --time-budget 12h $(ARGS)

search-resume: $(RUNTIME)  ## Go on with the search in SEARCH=runs/search; ARGS='--trials 60' asks for more
	@$(BIN)/tlkit search --resume --output $(SEARCH) $(ARGS)

search-workers: $(RUNTIME)  ## Search with N=4 processes on this machine
	@$(SEARCHING) --space $(SPACE) --trials $(TRIALS) --time-budget $(BUDGET) --workers $(N) $(ARGS)

search-report: $(RUNTIME)  ## Make the page of the search in SEARCH=runs/search again
	@$(BIN)/tlkit report $(SEARCH)

bench: $(STAMP)  ## Print the measured figures of this machine: some hours, and 3 GB for the peers
	$(BIN)/python benchmarks/first_light.py
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/engines.py --head
	$(BIN)/python benchmarks/features.py
	$(BIN)/python benchmarks/saving.py

recipes: $(STAMP)  ## Run all recipes and check their figures: hours
	$(BIN)/python recipes/check.py $(ARGS)

recipe: $(STAMP)  ## Run one recipe and check its figures: make recipe NAME=01
	@test -n "$(NAME)" || { echo "Name a recipe: make recipe NAME=01. recipes/README.md lists them."; exit 2; }
	$(BIN)/python recipes/check.py $(NAME) $(ARGS)

clean-environment:  ## Remove the virtual environment
	rm -rf $(VENV)
