# Tunesmith. `make help` lists what there is.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export VENV
TEST_WORKERS ?= 2
POSTGRES ?= postgres://postgres@127.0.0.1:5432/postgres
SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-browser chaos check format bench install install-dev clean

help: ## What you can do here
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: ## Install Tunesmith with local training into .venv
	@$(PYTHON) install.py ml

install-dev:
	@$(PYTHON) install.py ml dev postgres

demo: install ## Install, then run the whole path on the sample project (ONCE=1 ends after it)
	@$(BIN)/python -m finetune_site.demo $(if $(ONCE),--once)

serve: install ## Start the site (PORT=8000, HOST=127.0.0.1, DATA_DIR=data)
	@$(BIN)/python manage.py start

test: install-dev ## Run all tests on the embedded default (or on DATABASE_URL and REDIS_URL)
	@$(BIN)/python -m pytest -q -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder tests $(TEST_ARGS)

test-browser: install-dev ## Only the walks through the pages in a real Chromium
	@$(BIN)/python -m pytest -q -m browser tests

check: install-dev ## Style, types, imports, migrations, settings, templates
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python manage.py makemigrations --check --dry-run
	@PRODUCTION=1 ALLOWED_HOSTS=example.org $(BIN)/python manage.py check --deploy --fail-level WARNING
	@$(BIN)/djade --target-version 5.2 --check $$(find templates -name '*.html')

format: install-dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

chaos: install-dev ## Kill, freeze and cut off everything, in full (about half an hour; POSTGRES=postgres://...)
	@$(BIN)/python -m tests.chaos.table
	@$(BIN)/python -m tests.chaos.campaign --jobs 50 --kills 200 --seed $(SEED)
	@$(BIN)/python -m tests.chaos.campaign --jobs 50 --kills 200 --seed $(SEED) --postgres $(POSTGRES)
	@$(BIN)/python -m tests.chaos.outages 60
	@$(BIN)/python -m tests.chaos.hosts --real-times --postgres $(POSTGRES)
	@TUNESMITH_CHAOS=1 $(BIN)/python -m pytest -q -s tests/finetune_engine/train/test_random_kills.py tests/finetune_engine/train/test_launch.py

bench: install-dev ## Measure, small; `make bench FULL=1` at full size
	@$(BIN)/python -m benchmarks $(if $(FULL),--full)

clean: ## Remove what tests and tools leave behind (never your data)
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
