# make demo    the whole workflow on small models that it trains itself: a CPU, minutes
# make study   the study: docs/study/ from the runs of profiles/study that two cores can do, in about two hours
# make test    formatters, linters, the type checker and tests
# make lint    the same without the tests
# make site    the documentation site, site/index.html
# make pictures   the demo, the tutorial's run and the article's, and from them the site's pictures and the notebook's
#                 outputs
# make env     only the environment, .venv/ (the others make it too)
#
# TORCH=cuda or TORCH=cpu chooses torch's build; by default the one that is installed, and at first cuda where there is an
# NVIDIA driver or Slurm (a cluster's login node often has no GPU of its own).

SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(if $(shell $(name) --version 2>/dev/null),$(name))))
TORCH ?= $(or $(patsubst .venv/torch-%,%,$(firstword $(wildcard .venv/torch-*))),$(if $(shell command -v nvidia-smi sbatch),cuda,cpu))
TORCH_VERSION := $(shell sed -n 's/^torch==//p' envs/constraints.txt)
PIP := .venv/bin/python -m pip --disable-pip-version-check install --quiet
BIN := .venv/bin

.PHONY: demo study test lint format site pictures env constraints clean

demo: env
	$(BIN)/snakemake --profile profiles/demo
	@cat results/demo/summary.txt
	@echo "The report: results/demo/report.html"

study: env
	$(BIN)/snakemake --profile profiles/local --configfile profiles/study/planted.yaml
	$(BIN)/snakemake --profile profiles/local --configfile profiles/study/language-model.yaml
	profiles/study/evaluation-seeds
	$(BIN)/python profiles/study/write.py profiles/study/write-up.md docs/study results/planted results/language-model results/evaluation

test: lint
	$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder --durations 15

lint: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --lint --configfile profiles/demo/demo.yaml
	$(BIN)/mypy

format: env
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt Snakefile rules

# Not --quiet: it hides warnings, and then --strict finds none. The theme's own warning is about a next mkdocs.
site: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The site: site/index.html"

pictures: demo .venv/docs
	$(BIN)/python docs/hooks/pictures.py demo results/demo docs
	$(BIN)/snakemake --profile profiles/demo --configfile profiles/demo/demo.yaml profiles/tutorial/deleted.yaml
	$(BIN)/python docs/hooks/pictures.py tutorial results/demo docs
	$(BIN)/snakemake --profile profiles/demo --configfile profiles/demo/demo.yaml profiles/article/demo.yaml
	$(BIN)/python docs/hooks/pictures.py article results/article-demo docs

env: .venv/torch-$(TORCH)

.venv/torch-$(TORCH): envs/requirements.txt envs/constraints.txt envs/requirements-nodeps.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || { \
	    echo "error: Python 3.11 or 3.12 is needed (NumPy 1.26, which SAEBench wants, has no build for others); this is" \
	    "$$($(PYTHON) --version 2>&1): make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Installing into .venv (a few minutes, torch for $(TORCH)) ..."
	@$(PYTHON) -m venv $(if $(wildcard $@),,--clear) .venv
	@$(install_torch_$(TORCH))
	@$(check_torch_$(TORCH))
	@$(PIP) -r envs/requirements.txt -c envs/constraints.txt
	@$(PIP) --no-deps -r envs/requirements-nodeps.txt
	@$(PIP) --no-deps --editable .
	@touch $@

.venv/docs: envs/requirements-docs.txt envs/constraints.txt | env
	@$(PIP) -r envs/requirements-docs.txt -c envs/constraints.txt
	@touch $@

# On Linux the default build brings gigabytes of CUDA; the CPU build is where the package index has it, or at PyTorch's.
# For == pip takes a CPU build too (2.13.0+cpu) where it finds one; for === only the build of that very name, with CUDA.
install_torch_cuda = $(PIP) torch===$(TORCH_VERSION) 2>/dev/null || $(PIP) torch==$(TORCH_VERSION)
install_torch_cpu = [ "$$(uname)" = Linux ] && { $(PIP) torch==$(TORCH_VERSION)+cpu 2>/dev/null \
    || $(PIP) torch==$(TORCH_VERSION) --index-url https://download.pytorch.org/whl/cpu 2>/dev/null; } || $(PIP) torch==$(TORCH_VERSION)
check_torch_cuda = .venv/bin/python -W ignore -c 'import sys, torch; torch.version.cuda or sys.exit( \
    f"error: TORCH=cuda, but pip found torch {torch.__version__}, which has no CUDA: give pip an index that has the " \
    "CUDA build (pip config list shows which it asks), or say TORCH=cpu")'

constraints:
	( head -n 1 envs/constraints.txt; $(BIN)/pip freeze | sed 's/+cpu$$//' \
	    | grep -vFf <(sed -n 's/==.*/==/p' envs/requirements-nodeps.txt envs/requirements-docs.txt) | grep -vE '^(nvidia|cuda|triton|-e|#|maskedsae)' ) \
	    > .venv/constraints.txt
	mv .venv/constraints.txt envs/constraints.txt
	sed -i '/- pip:/q' envs/maskedsae.yaml
	sed -n 's/^[^#].*==/      - &/p' envs/constraints.txt >> envs/maskedsae.yaml

clean:
	rm -rf .venv results site .snakemake
