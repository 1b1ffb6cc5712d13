# Everything one does with this repository. `make help` lists it.
# Needs Python 3.11 or later and make; all else is installed into .venv.

export PYTHONPATH := platform
export PYTHONUNBUFFERED := 1
# Dozens of processes start here: compiled once, even where the surroundings say not to.
unexport PYTHONDONTWRITEBYTECODE

# The first of these that is Python 3.11 or later; name another with PYTHON3=/path/to/python. Of the same version the
# system's own is taken if it can make environments: distributions build with profile-guided optimization, version
# managers mostly do not, and without it everything takes half as much CPU again.
ifndef PYTHON3
PYTHON3 := $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	v=$$("$$p" -c 'import sys; assert sys.version_info >= (3, 11); print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	"/usr/bin/python$$v" -c 'import ensurepip, venv' >/dev/null 2>&1 && echo "/usr/bin/python$$v" || echo "$$p"; exit; done; echo none)
endif
PY := .venv/bin/python
ARGS ?=
# Processes are killed and stalled under load here, and clocks are real: on a busy machine a test may be late once, not thrice.
# Many tests wait (for leases, for silence), so there is one worker more than the two cores this is meant for.
TESTS = $(PY) -m pytest -p tests.services -n 3 --dist loadfile --no-loadscope-reorder --reruns 2 -rfEsR $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help manage test-browser conformance schemathesis run test check lint types imports deployable migrations fmt psql clean install install-dev

help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: install ## Run everything: databases, web server, worker, beat, a demo tenant. PORT=… to choose the port.
	@exec $(PY) -m embedded run --with-parent

test: install-dev ## Run the whole test suite. ARGS="-k ledger -x" for a part of it.
	@$(TESTS)

check: install-dev lint types imports deployable migrations ## What CI runs: lint, types, imports, deployment checks, migrations, tests.
	@$(TESTS)

lint: install-dev ## Check format and style.
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .

types: install-dev ## Check types.
	SKILLGATE_DEBUG=1 $(PY) -m mypy .

imports: install-dev ## Check who may import whom.
	.venv/bin/lint-imports

# Warnings fail it. The values only have to look like production's.
deployable: install-dev ## Check the settings as production would have them.
	SKILLGATE_DEBUG=0 SKILLGATE_SECRET_KEY=$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(64))') \
	SKILLGATE_KEY_PEPPER=$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(64))') \
	SKILLGATE_ALLOWED_HOSTS=skillgate.example SKILLGATE_BASE_URL=https://skillgate.example \
	SKILLGATE_FIELD_KEYS=$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(64))') \
	SKILLGATE_SEAL_KEYS=$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(64))') \
	SKILLGATE_EMAIL_URL=smtp+tls://user:password@mail.example:587 SKILLGATE_TRUSTED_PROXIES=10.0.0.0/8 \
	CELERY_BROKER_URL=redis://broker.example:6379/0 ANTHROPIC_API_KEY=check-only $(PY) -m embedded exec -- $(PY) manage.py check --deploy --fail-level WARNING

migrations: install-dev ## Check that the models and the migrations agree.
	SKILLGATE_DEBUG=1 $(PY) -m embedded exec -- $(PY) manage.py makemigrations --check --dry-run

conformance: install-dev ## Run the official MCP conformance suite (needs npm).
	PYTHONPATH=platform:. SKILLGATE_DEBUG=1 $(PY) -m tests.conformance.mcp_suite

schemathesis: install-dev ## Try every endpoint of the OpenAPI document with generated calls.
	PYTHONPATH=platform:. SKILLGATE_DEBUG=1 $(PY) -m tests.conformance.schema_suite

fmt: install-dev ## Format the code and fix what can be fixed.
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

test-browser: install-dev ## Drive the console in Chromium, installing it first where Debian is.
	@command -v chromium >/dev/null || { apt-get update -q && apt-get install -q -y chromium; }
	@$(TESTS) tests/console/test_browser*.py tests/finance/test_pages_browser.py

manage: install ## Run a command of manage.py beside `make run`: make -s manage ARGS="issue_key --tenant demo --name n".
	@exec $(PY) -m embedded manage $(ARGS)

psql: install ## Open psql on the embedded database.
	@exec $(PY) -m embedded psql

clean: ## Remove .local (the data!) and .venv. Refused while `make run` runs.
	@$(PYTHON3) -m embedded.clean

install: python
	@$(PYTHON3) -I platform/embedded/install.py requirements.txt

install-dev: python
	@$(PYTHON3) -I platform/embedded/install.py requirements-dev.txt

.PHONY: python
python:
	@if [ "$(PYTHON3)" = none ]; then \
		echo "Python 3.11 or later is needed and none was found on the PATH: install it, or name it with PYTHON3=/path/to/python3."; \
		exit 1; fi
