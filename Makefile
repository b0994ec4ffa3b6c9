# Everything a developer types. `make help` lists it. Paths are relative, so that a checkout may lie anywhere.

PYTHON ?= python3
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help up demo test check docs bench growth soak clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

up: .venv/installed ## run FleetLM here, engines included; PORT, HOST and FLEETLM_DATA move it; Ctrl-C ends it
	@FLEETLM_ENV="$${FLEETLM_ENV:-development}" exec .venv/bin/python manage.py up $(ARGS)

demo: .venv/installed clients/typescript/dist/index.js ## the support desk: http://127.0.0.1:4100, with FleetLM if it does not run yet
	@exec node examples/support-desk/demo.mjs

test: .venv/installed-dev node_modules/.installed ## run the tests; ARGS="-n0 tests/unit -k seq" narrows them
	@.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadgroup $(ARGS)

check: export FLEETLM_ENV = development
check: .venv/installed-dev ## format, lint, types, layers, migrations, the settings' page
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy
	.venv/bin/python -m mypy --strict --explicit-package-bases docs/site
	cd clients/python && ../../.venv/bin/python -m mypy
	.venv/bin/lint-imports
	.venv/bin/python manage.py check
	.venv/bin/python manage.py makemigrations --check --dry-run
	.venv/bin/python manage.py configuration --check

docs: export NO_MKDOCS_2_WARNING = 1
docs: .venv/installed-dev ## build the documentation to site/
	@.venv/bin/python -m mkdocs build --quiet

bench: .venv/installed-dev ## measure this machine, about 5 minutes; ARGS="--quick", "--only rest", "--processes 2", "--json FILE"
	@.venv/bin/python -m bench $(ARGS)

growth: .venv/installed-dev ## what ten million messages in the database cost; ARGS="--messages 1000000" for fewer
	@.venv/bin/python -m bench.growth $(ARGS)

soak: .venv/installed-dev ## does memory grow with what users do? ARGS="--idle 10000" for idle sockets
	@.venv/bin/python -m bench.soak $(ARGS)

clean: ## remove what was installed or generated; the data in .fleetlm stays
	rm -rf .venv node_modules clients/typescript/dist site staticfiles .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'FleetLM needs Python 3.11 or newer; choose one with: make PYTHON=python3.11' >&2; exit 1; }
	$(PYTHON) -m venv .venv

# Stamps: installing is repeated only when the requirements change, so the second time works offline.
.venv/installed: requirements.txt requirements-cli.txt clients/python/pyproject.toml | .venv/bin/python
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-cli.txt
	@touch $@

.venv/installed-dev: requirements.txt requirements-cli.txt requirements-dev.txt clients/python/pyproject.toml | .venv/bin/python
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch .venv/installed $@

clients/typescript/dist/index.js: $(wildcard clients/typescript/src/*.ts clients/typescript/src/*/*.ts) node_modules/.installed
	npm run --silent build --workspace @fleetlm/js

node_modules/.installed: package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@
