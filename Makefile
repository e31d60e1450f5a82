# Every target that needs the environment builds it first; nothing else has to be installed.
PYTHON ?= python3
RUN := .venv/bin/python
READY := .venv/.ready
BOOTSTRAP := build/uv
PARALLEL := -n auto --maxprocesses 4 --dist loadfile # fixtures of a module, or in `make test` of a folder, are made once

.DEFAULT_GOAL := help
.PHONY: help setup demo app test test-all test-browser test-docs docs docs-serve check audit format eval bench clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## build .venv from requirements.lock (PYTHON=... chooses the interpreter)

demo: $(READY) ## the last stage of training, with and without the Leffa loss: outputs/demo/report.html
	.venv/bin/leffa demo

app: $(READY) ## the web page, with the shipped baseline: http://127.0.0.1:7860
	.venv/bin/leffa app $(if $(CKPT),--tryon $(CKPT))

test: $(READY) ## the tests that need no GPU, no network and no downloaded weights
	$(RUN) -m pytest $(PARALLEL) -m "not slow and not gpu and not weights and not browser and not pages"

test-all: docs ## every test that needs no GPU, and `make docs`; the pages have `make test-browser`
	$(RUN) -m pytest $(PARALLEL) -m "not gpu and not browser and not pages"

test-browser: $(READY) ## all pages in a chromium that is installed already; SCREENSHOTS=DIR keeps pictures
	LEFFA_SCREENSHOTS="$(SCREENSHOTS)" $(RUN) -m pytest -m browser

test-docs: $(READY) ## run the commands of README and the tutorials, in their order: 20 minutes
	$(RUN) -m pytest -m pages

docs: $(READY) ## the documentation as a site: build/docs/index.html; any warning is an error
	$(RUN) -m sphinx --fail-on-warning --keep-going --quiet --fresh-env docs build/docs

docs-serve: docs ## the same, shown: http://127.0.0.1:8000
	$(RUN) -m http.server --bind 127.0.0.1 --directory build/docs 8000

check: $(READY) ## lint, format, types, and the links of the documentation
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy src
	$(RUN) -m pytest --quiet tests/test_docs.py

audit: $(READY) ## known security holes in what requirements.lock pins; asks PyPI, run by hand
	PATH="$$PATH:$(CURDIR)/$(BOOTSTRAP)/bin" uv tool run pip-audit --strict --disable-pip --no-deps \
		--requirement requirements.lock

format: $(READY) ## rewrite the code in the project's format
	$(RUN) -m ruff check --fix
	$(RUN) -m ruff format

# The run that was trained last, where none is named; make prints the command with it.
LAST_RUN = $(shell find outputs -type d -name checkpoints -exec ls -td {} + 2>/dev/null | head -n 1)
WEIGHTS = $(or $(CKPT),$(patsubst %/checkpoints,%,$(LAST_RUN)))

eval: $(READY) ## evaluate: make eval DATASET=NAME [ROOT=DIR] [CKPT=RUN] [PROTOCOL=NAME] [DEVICES=8] [ARGS="key=value ..."]
	@test -n "$(DATASET)" || { echo "Which dataset? make eval DATASET=NAME; NAME is one of:" $(sort $(basename $(notdir $(wildcard conf/dataset/*.yaml)))) >&2; exit 2; }
	@test -n "$(WEIGHTS)" || { echo "Which weights? No trained run lies below outputs/: add CKPT=FILE_OR_FOLDER" >&2; exit 2; }
	$(RUN) evaluate.py dataset=$(DATASET) ckpt=$(WEIGHTS) $(if $(ROOT),dataset.root=$(ROOT)) \
		$(if $(PROTOCOL),protocol=$(PROTOCOL)) $(if $(DEVICES),devices=$(DEVICES)) $(ARGS)

bench: $(READY) ## the quick half of the speed benchmarks, into benchmarks/results
	$(RUN) benchmarks/arithmetic.py --out benchmarks/results
	$(RUN) benchmarks/flow_field.py
	$(RUN) benchmarks/train_step.py --rounds 3 --skip "compiled blocks" "compiled networks" --out benchmarks/results
	$(RUN) benchmarks/attention_losses.py --rounds 3 --out benchmarks/results
	$(RUN) benchmarks/loader.py --rounds 3
	$(RUN) benchmarks/inference_speed.py --sizes 256x192 --pictures

clean: ## remove caches and build products; .venv and outputs stay
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage
	find src tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

# The file is newer than the lock only after an installation that went through to its end.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
		|| { echo "Python 3.11 or newer is needed, '$(PYTHON)' is not: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@command -v uv >/dev/null || { $(PYTHON) -m venv $(BOOTSTRAP) && $(BOOTSTRAP)/bin/pip install --quiet uv; }
	@export PATH="$$PATH:$(CURDIR)/$(BOOTSTRAP)/bin" \
		&& { test -x $(RUN) || uv venv --python "$$(command -v $(PYTHON))" .venv; } \
		&& uv pip install --compile-bytecode --python $(RUN) --requirement requirements.lock \
		&& uv pip install --python $(RUN) --no-deps --editable .
	@touch $@
