# make run: set up and run the digits pipeline.  make test: set up and test.
PYTHON ?= python3
# How many processes the tests run in; each takes some 2 GB.
WORKERS ?= 2
BIN := .venv/bin

PYTEST = $(BIN)/python -m pytest -q --numprocesses $(WORKERS) --dist worksteal --durations 10

.PHONY: run test test-slow test-all bench check docs format lock audit clean .venv

run: .venv/installed
	$(BIN)/python run_pipeline.py run digits

# Three speeds, none of which runs what another one does: a quarter of an hour; half an hour, with
# real weights, processes and kills; and by hand, before something big is called done, all the rest:
# every backbone, every family, every kill.
test: .venv/installed
	$(PYTEST)

test-slow: .venv/installed
	$(PYTEST) -m "slow and not exhaustive"

test-all: .venv/installed
	$(PYTEST) -m exhaustive

# Against the Keras guide, on ../shared: some twenty minutes. WHAT=text: against KerasHub, an hour.
# WHAT=retraining: five times with 5 % more photographs, from the hub's weights and the last model's.
# WHAT=gates: what it costs to look before one reads, a minute.
bench: .venv/installed
	$(BIN)/python -m tests.benchmarks $(WHAT)

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The pages of docs/ as a site, in .site/.
docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --config-file .mkdocs.yml

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The environment, with what developing needs: what is locked, and nothing else. Its last file is the stamp: a set-up that was
# interrupted has none, and is begun again.
.venv: .venv/installed

.venv/installed: requirements.lock
	rm -rf .venv
	@$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), sys.version' \
		|| { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
		--requirement requirements.lock
	touch $@

# Needs uv. The lock holds hashes and names no registry.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --upgrade --output-file requirements.lock

# Known holes in what is locked. Needs uv, and a registry that tells of them.
audit:
	uvx pip-audit --requirement requirements.lock --require-hashes --disable-pip

clean:
	rm -rf .venv .store .site
