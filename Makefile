# Two commands on a fresh machine: `make run` and `make test`. Each installs what it needs into .venv, from pinned
# and hashed requirements, and may come first, second, twice, or after one that was interrupted.
#
#   make test PYTHON=python3.13 VENV=.venvs/3.13     another interpreter, in a place of its own
#   make pytest ARGS='tests/unit -k wire'            some tests, without coverage and checks

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

VENV ?= .venv
ARGS ?=
PY := $(VENV)/bin/python
VERSIONS := 3.11 3.12 3.13 3.14
#: The one tool that only `make lock` needs.
UV := uv==0.13.9

# A candidate must run, be new enough and be able to make a venv with pip (Debian packs that apart; a version
# manager's shim stands in the PATH for versions that it then refuses to run).
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$python -c '$(USABLE)' >/dev/null 2>&1 && { echo $$python; break; }; done)

# Settings of the caller's shell that would install elsewhere, ask questions or import other code.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_USER := 0
unexport PYTHONPATH PYTHONHOME PIP_REQUIRE_HASHES PIP_TARGET PIP_PREFIX

# Stamps are written last, so whatever was interrupted is done again. A venv in which an install was cut short holds
# packages of which only a part is there and which pip takes for whole: it is made anew, as is one whose interpreter
# has gone.
MADE := $(VENV)/.stamp-made
DEV := $(VENV)/.stamp-dev
DEMO := $(VENV)/.stamp-demo
SELF := $(VENV)/.stamp-self
BUSY := $(VENV)/.stamp-installing
ifneq ($(wildcard $(VENV)),)
ifneq ($(shell test ! -e $(BUSY) && $(PY) -c 'import pip; print("ok")' 2>/dev/null),ok)
$(shell rm -f $(MADE) $(DEV) $(DEMO) $(SELF))
endif
endif

.PHONY: help
help: ## this list
	@echo "logbus: make TARGET"
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  %-12s %s\n' "$$name" "$$text"; done

$(MADE):
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(USABLE)' || { \
		echo "logbus needs Python 3.11 or newer with venv and pip (Debian, Ubuntu: the package python3-venv);" \
			"none found$(if $(PYTHON), in PYTHON=$(PYTHON))" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(DEV): $(MADE) requirements/dev.lock
	@echo "installing requirements/dev.lock"
	@touch $(BUSY)
	@$(PY) -m pip install -qq --require-hashes -r requirements/dev.lock
	@rm $(BUSY)
	@touch $@

# After the other, never beside it: two pips at work in one venv break it.
$(DEMO): $(DEV) requirements/demo.lock
	@echo "installing requirements/demo.lock"
	@touch $(BUSY)
	@$(PY) -m pip install -qq --require-hashes -r requirements/demo.lock
	@rm $(BUSY)
	@touch $@

# The build backend comes from the lock, so nothing unpinned is downloaded. Sources are used in place: only what
# pyproject.toml says needs another install, and the compiled parts, which are optional and of this Python only.
$(SELF): $(DEMO) pyproject.toml setup.py $(wildcard native/*.[ch] native/*/*.[ch])
	@$(PY) -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@

# Servers that the tests start, from Debian's packages. Where they can't be had there is no stamp and one line says why.
SERVERS := .servers/.stamp
$(SERVERS): $(MADE) requirements/servers.lock
	@$(PY) -m scripts.servers

.PHONY: install
install: $(SELF) ## everything that the other targets need, into .venv
	@$(PY) -m scripts.native

.PHONY: run
run: install ## the main job: one collector and four real proxywhirl workers for 20 s, then the ledger
	@$(PY) -m scripts.demo run

.PHONY: up
up: install ## the same as a service that goes on, restarted on crash
	@$(PY) -m scripts.demo up

.PHONY: ps
ps: install ## what the service's processes do, and the ledger
	@$(PY) -m scripts.demo ps

.PHONY: logs
logs: install ## follow the service's console
	@$(PY) -m scripts.demo logs

.PHONY: down
down: install ## stop the service: workers, then the collector, so that nothing is lost
	@$(PY) -m scripts.demo down

.PHONY: test
test: check $(SERVERS) ## checks, then every test in random order (about 10 minutes at most)
	@$(PY) -m coverage erase
	@$(PY) -m pytest -q --no-header -m uncovered tests/unit
	@$(PY) -m scripts.suite
	@$(PY) -m coverage combine -q
	@$(PY) -m coverage report --skip-covered

.PHONY: sanitize
sanitize: install ## tests of the compiled parts with extensions that report wrong uses of memory; ARGS='…' goes to pytest
	@$(PY) -m scripts.sanitize $(ARGS)

.PHONY: coverage
coverage: install $(SERVERS) ## what all tests together reach, those that start processes too (half an hour)
	@$(PY) -m coverage erase
	@$(PY) -m coverage run -m pytest -q -m "not uncovered" $(ARGS)
	@$(PY) -m coverage combine -q
	@$(PY) -m coverage report --skip-covered

.PHONY: pytest
pytest: install $(SERVERS) ## the tests alone; ARGS='…' goes to pytest
	@$(PY) -m pytest $(ARGS)

.PHONY: test-all
test-all: ## the tests on every Python from 3.11 to 3.14 that is here, each in .venvs/VERSION
	@ran=; for version in $(VERSIONS); do \
		found=; for python in python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python$$version; do \
			$$python -c '$(USABLE)' >/dev/null 2>&1 && { found=$$python; break; }; done; \
		if [ -z "$$found" ]; then echo "== Python $$version: not found, skipped"; continue; fi; \
		echo "== Python $$version: $$found"; \
		$(MAKE) --no-print-directory pytest VENV=.venvs/$$version PYTHON=$$found || exit 1; \
		ran="$$ran $$version"; \
	done; test -n "$$ran" || { echo "no Python from 3.11 to 3.14 found" >&2; exit 1; }; echo "passed on Python$$ran"

.PHONY: soak
soak: install $(SERVERS) ## the promised figures at full size (tens of minutes)
	@LOGBUS_SOAK=1 $(PY) -m pytest -m soak -o timeout=1800 -o faulthandler_timeout=900 $(ARGS)

.PHONY: check
check: install ## ruff (rules and format) and mypy, strict, over code and tests
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m mypy

.PHONY: bench-quick
bench-quick: install bench-peers ## the promised performance ratios, in about a minute
	@$(PY) -m benchmarks.suite --quick

.PHONY: bench
bench: install bench-peers $(SERVERS) ## logbus beside every peer in one run, and each of its parts: a quarter of an hour
	@$(PY) -m scripts.servers bench
	@failed=0; for part in suite levels pipeline delivery 'proxied --short' 'suite render'; do \
		$(PY) -m benchmarks.$$part || { test $$? -ne 130 || exit 130; failed=1; }; done; exit $$failed

.PHONY: bench-check
bench-check: install ## whether the hot paths take as many instructions as they did, whatever the machine
	@$(PY) -m benchmarks.guard

# What logbus is compared with, in venvs of its own: nothing of it gets into ours. Made anew if it was interrupted. Some
# of it is for Python 3.13 only, which need not be here.
PEERS := .venvs/bench/.stamp
$(PEERS): $(MADE) requirements/bench.lock
	@echo "installing requirements/bench.lock"
	@$(PY) -m venv --clear .venvs/bench
	@.venvs/bench/bin/python -m pip install -qq --require-hashes -r requirements/bench.lock
	@touch $@
PEERS_313 := .venvs/bench-3.13/.stamp
$(PEERS_313): requirements/bench.lock
	@mkdir -p $(@D); for python in python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13.*/bin/python3.13; do \
		$$python -c '$(USABLE)' >/dev/null 2>&1 || continue; \
		echo "installing requirements/bench.lock for Python 3.13"; \
		$$python -m venv --clear .venvs/bench-3.13 && \
		.venvs/bench-3.13/bin/python -m pip install -qq --require-hashes -r requirements/bench.lock || exit 1; \
		break; done
	@touch $@

.PHONY: bench-peers
bench-peers: $(PEERS) $(PEERS_313) ## what benchmarks compare logbus with, into .venvs/bench

.PHONY: build
build: install ## sdist and wheel in dist/
	@$(PY) -m build --no-isolation

# One resolution for all, from which the files are cut: whatever is in several has one version, and one venv holds all.
.PHONY: lock
lock: install ## resolve requirements/*.lock anew from pyproject.toml
	@test -x .venvs/lock/bin/uv || { $(PY) -m venv .venvs/lock && .venvs/lock/bin/python -m pip install -qq '$(UV)'; }
	@set -e; all=$$(mktemp); trap 'rm -f "$$all"' EXIT; \
	compile="env -u UV_FIND_LINKS .venvs/lock/bin/uv pip compile pyproject.toml -q --no-config --universal \
		--python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command=make\ lock"; \
	eval "$$compile --upgrade --extra dev --extra demo --extra bench -o $$all"; \
	for extra in dev demo bench; do \
		eval "$$compile --upgrade --generate-hashes -c $$all --no-annotate --extra $$extra -o requirements/$$extra.lock"; \
	done

.PHONY: clean
clean: ## remove what builds, tests and tools leave; .venv and logs stay
	rm -rf build dist *.egg-info .coverage .coverage.* htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f producers/_native*.so collectors/_native*.so $(SELF) .venvs/*/.stamp-self
	find logbus producers collectors tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +
