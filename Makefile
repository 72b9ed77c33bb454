# Two commands matter: `make demo` runs the main job, `make test` the tests. Both make .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test check format bench bench-train faults drills servers soak slow gpu lock clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/runs  ## install, then run the stickers recipe from end to end
	$(BIN)/ganmill demo

test: .venv/develops  ## install, then run the tests
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadscope --no-loadscope-reorder \
	  -m "not slow and not gpu and not faults"

check: .venv/develops  ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: .venv/develops  ## let ruff lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/develops  ## print figures and ratios, no verdicts
	$(BIN)/python -m tests.benchmarks

bench-train: .venv/develops  ## images per second of training against a plain step
	$(BIN)/python -m tests.benchmarks training_speed

faults: .venv/develops  ## 300 kills, every failure of the disk, every situation of the gate
	$(BIN)/python -m pytest -m faults

drills: .venv/develops  ## kill each part of a running mill in mid-run, and say what came of it
	$(BIN)/python -m pytest tests/faults/test_drills.py tests/faults/test_server_drills.py -m faults -s

servers: .venv/develops  ## the commands' tests once more, on Postgres, an S3 store and a login
	GANMILL_TEST_SERVERS=real $(BIN)/python -m pytest -m "not slow and not gpu and not faults" \
	  $(addprefix tests/flows/,test_commands.py compare/test_compare.py schedules/test_deploy.py \
	  commands/test_extractors.py test_generate.py test_notices.py schedules/test_worker.py)

soak: .venv/develops  ## an hour of schedules and random kills; make soak MINUTES=10
	$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),60)

slow: .venv/develops  ## the tests that take minutes, on real data
	$(BIN)/python -m pytest -m slow

gpu: .venv/develops  ## the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

lock:  ## resolve the dependencies anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -q -o infra/requirements.lock
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -q -c infra/requirements.lock \
	  -o infra/requirements-dev.lock
	uv pip compile pyproject.toml --extra s3 --extra postgres --extra login --extra cluster --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q \
	  -c infra/requirements-dev.lock -o infra/requirements-server.lock

clean:  ## stop the servers; remove what the mill made here, not .venv
	-$(BIN)/ganmill down
	rm -rf data models/*/bundle models/*/extractor reports runs assets .ganmill .dvc/cache .dvc/tmp dvc.lock

# The lock is complete, so pip resolves nothing: exactly these files, by hash, or an error.
.venv/runs: infra/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("make: ganmill needs Python 3.11 or newer, this is %d.%d. Say: make PYTHON=python3.12 $(MAKECMDGOALS)" % v[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the locked packages (about 6 GB, 2 to 4 minutes) ..."
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r infra/requirements.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/develops: .venv/runs infra/requirements-dev.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r infra/requirements-dev.lock
	@touch $@
