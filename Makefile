# Everything needs only Python 3.11 or newer with venv, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo run test lint unit lab browser page-images simnet faults kills wheel bench lowest clean

demo: $(STAMP)  ## four peers on this machine, a swarm, a failover you can watch
	$(BIN)/peershare demo

run: $(STAMP)  ## the service with its defaults (PEERSHARE_* variables and ARGS="--…" change them)
	$(BIN)/twistd --nodaemon --pidfile= peershare $(ARGS)

test: lint unit  ## what main always passes

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Tests with peers in processes of their own mostly wait: they run beside all others.
INTEGRATION := $(patsubst tests/integration/%.py,tests.integration.%,$(wildcard tests/integration/test_*.py))
SWARMS := $(filter tests.integration.test_swarm%,$(INTEGRATION))
PEERS := $(filter-out $(SWARMS),$(INTEGRATION))
HOSTS := tests.lab tests.browser
REST := $(filter-out tests.integration $(HOSTS),$(patsubst tests/%/__init__.py,tests.%,$(wildcard tests/*/__init__.py))) \
	$(patsubst tests/%.py,tests.%,$(wildcard tests/test_*.py))
.PHONY: unit-peers unit-swarms unit-hosts unit-rest

unit: $(STAMP) tools
	$(MAKE) --jobs=2 --output-sync=target unit-peers unit-swarms unit-hosts unit-rest

unit-peers: $(STAMP) tools
	$(BIN)/trial --temp-directory=_trial_temp_peers $(PEERS)

unit-swarms: $(STAMP) tools
	$(BIN)/trial --temp-directory=_trial_temp_swarms $(SWARMS)

unit-hosts: $(STAMP) tools
	$(BIN)/trial --temp-directory=_trial_temp_hosts $(HOSTS)

unit-rest: $(STAMP) tools
	$(BIN)/trial --temp-directory=_trial_temp_rest $(REST)

lab: $(STAMP) tools  ## only the peers in network namespaces (needs root)
	$(BIN)/trial tests.lab

browser: $(STAMP) tools  ## only the page, in a real Chromium
	$(BIN)/trial tests.browser

page-images: $(STAMP) tools  ## the screenshots of the page in docs/images, made anew
	PEERSHARE_SCREENSHOTS=1 $(BIN)/trial tests.browser.test_page_pictures

simnet: $(STAMP)  ## many peers in one process on virtual time: 200 stories of faults, 1 + 50 peers
	$(BIN)/trial -j2 tests/simnet/story_checks.py

faults: $(STAMP)  ## every disk and database call of every operation fails once, in each way
	PEERSHARE_FAULTS=whole $(BIN)/trial -j2 --temp-directory=_trial_temp_faults tests.faults

kills: $(STAMP)  ## kill -9 at 50 moments of a download and of an upload
	PEERSHARE_KILLS=50 $(BIN)/trial tests.integration.test_swarm_kills

# Every direct dependency at its lower bound, in an environment of its own; without what needs others.
LOWEST := .venv-lowest
LOWEST_STAMP := $(LOWEST)/.installed
LOWEST_TESTS := tests.wire tests.test_dictionary tests.test_discovery tests.test_beacons tests.test_tap \
	tests.test_settings tests.content.test_manifest tests.library.test_library tests.library.test_index \
	tests.library.test_watch tests.control.test_api tests.control.test_metrics tests.control.test_server \
	tests.client.test_progress tests.download.test_machine tests.download.swarm.test_machine \
	tests.guest.test_server tests.integration.test_swarm.SwarmTests.test_four

lowest: $(LOWEST_STAMP)  ## a part of the tests, with every direct dependency at its lowest
	$(LOWEST)/bin/trial --temp-directory=_trial_temp_lowest $(LOWEST_TESTS)

$(LOWEST_STAMP): pyproject.toml setup.cfg constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
	  | sed 's/>=/==/' >$(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LOWEST)/lowest.txt \
	  $$(grep '^hypothesis==' constraints.txt) --editable .
	touch $@

wheel: $(STAMP)  ## build the wheel, install it elsewhere, use it from there
	$(BIN)/trial tests/wheel_checks.py

# Installs what it is measured beside: nginx, curl, b3sum, and libtorrent in an environment of its own.
bench: $(STAMP) tools  ## what is measured, beside what a user would pick instead (swarm.py needs root)
	$(BIN)/python bench/one_to_one.py
	$(BIN)/python bench/page.py
	$(BIN)/python bench/swarm.py
	$(BIN)/python bench/hashing.py
	$(BIN)/python bench/scale.py
	$(BIN)/python bench/restart.py
	$(BIN)/python bench/classic.py
	$(BIN)/python bench/discovery.py

# The lab needs iproute2 and nftables, the page a Chromium, the man page groff, completion its shells;
# where we may, we install them, elsewhere
# the tests say why they are skipped.
DEBIAN := iproute2:ip nftables:nft groff:groff zsh:zsh fish:fish chromium:chromium chromium-driver:chromedriver
.PHONY: tools
tools:
	@missing=; for tool in $(DEBIAN); do \
	  PATH="$$PATH:/usr/sbin:/sbin" command -v "$${tool#*:}" >/dev/null 2>&1 || missing="$$missing $${tool%:*}"; \
	done; test -z "$$missing" || \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null 2>&1 && apt-get update -qq && \
	    apt-get install -y -qq --no-install-recommends $$missing >/dev/null; } || \
	  echo "these are not here and cannot be installed, so some tests will be skipped:$$missing"

$(STAMP): pyproject.toml setup.cfg constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) build dist *.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis
