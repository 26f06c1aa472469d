# Everything needs only Python 3.11 or newer with venv, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo run test lint unit lab wheel bench clean

demo: $(STAMP)  ## three peers on this machine, a download, a failover you can watch
	$(BIN)/peershare demo

run: $(STAMP)  ## the service with its defaults (PEERSHARE_* variables and ARGS="--…" change them)
	$(BIN)/twistd --nodaemon --pidfile= peershare $(ARGS)

test: lint unit  ## what main always passes

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(STAMP) tools
	$(BIN)/trial tests

lab: $(STAMP) tools  ## only the peers in network namespaces (needs root)
	$(BIN)/trial tests.lab

wheel: $(STAMP)  ## build the wheel, install it elsewhere, use it from there
	$(BIN)/trial tests/wheel_checks.py

bench: $(STAMP)  ## what is measured, beside what a user would pick instead (installs nginx and curl)
	$(BIN)/python bench/classic.py
	$(BIN)/python bench/discovery.py

# The lab needs iproute2; where we may, we install it, elsewhere its tests say why they are skipped.
.PHONY: tools
tools:
	@command -v ip >/dev/null 2>&1 || \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null 2>&1 && \
	    apt-get update -qq && apt-get install -y -qq iproute2 >/dev/null; } || \
	  echo "iproute2 is not here and cannot be installed: the lab will be skipped"

$(STAMP): pyproject.toml setup.cfg
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis
