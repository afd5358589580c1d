# Two commands do everything: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
TORCH := 2.13.0
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)

.PHONY: run test env lock

run: env
	snakemake --cores all
	@echo 'The report: reports/index.html'

test: $(VENV)/test.done
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint
	pytest

env: $(VENV)/run.done

$(VENV)/run.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/test.done: $(VENV)/run.done
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

# Everything seqbench and its tests need, pinned, without what ties torch to one build. To be run with Python 3.11,
# the oldest supported: newer Pythons need nothing more.
lock:
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet pip-tools
	echo 'torch==$(TORCH)' > $(VENV)/lock/torch.txt
	$(VENV)/lock/bin/pip-compile --quiet --upgrade --strip-extras --no-header --no-emit-index-url \
	  --no-emit-find-links --no-emit-trusted-host --no-annotate --constraint $(VENV)/lock/torch.txt --extra test --extra benchmark --extra slurm \
	  --output-file constraints.txt pyproject.toml
	sed -i -E '/^nvidia-ml-py/!{/^(nvidia-|triton|cuda-)/d}; s/^(torch==[0-9.]+).*/\1/; /^#/d; /^--/d' constraints.txt
	rm -rf $(VENV)/lock
