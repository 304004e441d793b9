# What a developer runs. Every target sets up what it needs, given Python >= 3.11, pip and make.

.DEFAULT_GOAL := help
.PHONY: help demo test test-local check bench soak scaling wheels constraints system format clean
.DELETE_ON_ERROR:

VENV     := .venv
PY       := $(VENV)/bin/python
PACKAGES := core $(patsubst %/pyproject.toml,%,$(sort $(wildcard plugins/*/pyproject.toml)))
PROJECTS := pyproject.toml $(PACKAGES:%=%/pyproject.toml)
EDITABLE := $(PACKAGES:%=-e %)
PIP      := $(PY) -m pip --disable-pip-version-check
PYTEST   := $(PY) -m pytest

# PYTHON may name the interpreter; otherwise the first that is new enough.
CANDIDATES = $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python)

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | awk -F: '{ printf "make %-12s %s\n", $$1, $$2 }'

demo: $(VENV)/.ready ## calls through the whole pipeline while faults are injected; no key, no network
	@$(VENV)/bin/penstock demo

# The system tests join in where PENSTOCK_PEERS names the folder that builds their servers.
test: $(VENV)/.ready $(if $(PENSTOCK_PEERS),$(VENV)/.system) ## every test
	$(PYTEST) -n auto --dist loadfile $(ARGS)

# torch and transformers take 1.2 GB, so they get an environment of their own, outside of the checkout.
LOCAL := $(or $(LOCAL_VENV),$(HOME)/.cache/penstock/local-venv)

test-local: $(LOCAL)/.ready ## models in this process, where PENSTOCK_PEERS names the folder that makes tiny ones
	HF_HUB_OFFLINE=1 $(LOCAL)/bin/python -m pytest -m local tests/plugins/huggingface/test_local.py $(ARGS)

check: $(VENV)/.ready ## formatting, lint, types, packaging
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PYTEST) tests/test_packaging.py

format: $(VENV)/.ready ## format the code and mend what the linter can
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

# ARGS=--quick takes a minute and writes nothing; peers live in environments outside of the checkout.
bench: $(VENV)/.ready ## Penstock beside its peers, and every budget beside its measurement
	@$(PY) tests/benchmarks/bench.py $(ARGS)

# ARGS="--calls 20000 --streams 2000" takes two minutes and writes nothing.
soak: $(VENV)/.ready ## what a million calls with faults leave behind
	@$(PY) tests/benchmarks/soak.py $(ARGS)

# ARGS=--quick leaves the largest sizes out and writes nothing.
scaling: $(VENV)/.ready ## what a call costs as there is more of everything
	@$(PY) tests/benchmarks/scaling.py $(ARGS)

wheels: $(VENV)/.ready ## one wheel for each package, in dist/
	@rm -rf dist
	@set -e; for package in $(PACKAGES); do \
		(cd "$$package" && "$(CURDIR)/$(PY)" -m hatchling build -t wheel -d "$(CURDIR)/dist"); \
	done
	@ls dist

system: $(VENV)/.system ## install what the tests against real servers need

constraints: $(VENV)/.ready ## pin everything anew in constraints.txt
	@$(PY) tools/uv.py pip compile --quiet --upgrade --python-version 3.11 --no-header --no-annotate \
		--group dev --group system $(PACKAGES:%=%/pyproject.toml) | grep -E '^[a-z0-9._-]+==' > constraints.new
	@mv constraints.new constraints.txt
	@echo "constraints.txt: $$(wc -l < constraints.txt) pins"

clean: ## remove what these targets made
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(PY):
	@set -e; for python in $(CANDIDATES); do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		echo "Creating $(VENV) with $$("$$python" --version)"; \
		"$$python" -m venv $(VENV) && exit 0; \
		echo "venv does not work here; trying virtualenv"; \
		rm -rf $(VENV); \
		"$$python" -m pip install --quiet --target build/virtualenv virtualenv; \
		PYTHONPATH=build/virtualenv "$$python" -m virtualenv --quiet $(VENV) && exit 0; \
	done; echo "Penstock needs Python 3.11 or newer; name one with PYTHON=..." >&2; exit 1

# uv is much quicker than pip; where it cannot be had, pip does the same work.
$(VENV)/.ready: $(PROJECTS) constraints.txt tools/uv.py | $(PY)
	@echo "Installing the workspace: $(PACKAGES)"
	@[ -x $(VENV)/bin/uv ] || $(PIP) install --quiet -c constraints.txt uv || echo "no uv here; pip will do"
	@$(PY) tools/uv.py pip install -c constraints.txt --group dev $(EDITABLE) \
		|| { $(PIP) install --quiet --upgrade pip && $(PIP) install -c constraints.txt --group dev $(EDITABLE); }
	@touch $@

$(LOCAL)/.ready: core/pyproject.toml plugins/huggingface/pyproject.toml plugins/testkit/pyproject.toml | $(PY)
	@echo "Installing torch and transformers into $(LOCAL)"
	@[ -x $(LOCAL)/bin/python ] || $(PY) -m venv $(LOCAL)
	@$(LOCAL)/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
	@$(LOCAL)/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt pytest gguf \
		-e core -e plugins/wire -e plugins/testkit -e plugins/retry -e "plugins/huggingface[local]"
	@touch $@

$(VENV)/.system: $(VENV)/.ready
	@echo "Installing what real servers need"
	@$(PY) tools/uv.py pip install -c constraints.txt --group system \
		|| $(PIP) install -c constraints.txt --group system
	@touch $@
