# Every target does its own set-up in .venv, from nothing, and may be run again at any time.
# TORCH_PIP_ARGS: extra pip arguments for torch, for instance another index for a CUDA build.
PYTHON ?= python3
TORCH_PIP_ARGS ?=
BIN := .venv/bin

export FLWR_TELEMETRY_ENABLED ?= 0
export FLWR_DISABLE_UPDATE_CHECK ?= 1
export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION ?= 1
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test test-browser test-slow test-faults test-docker test-fuzz audit bench install lint proto docs clean
.DEFAULT_GOAL := demo

install: .venv/installed

# torch goes first and by its exact version, so that no later package draws in another build.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(TORCH_PIP_ARGS) $$(grep '^torch==' constraints.txt)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/groundswell simulate --out runs/demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Linters and quick tests; then, on the real data, a short simulation, a federation of real processes
# that is killed and cut off, and a hostile bundle, which needs root.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow and not end_to_end"
	$(BIN)/pytest -m "end_to_end and not slow" tests/end_to_end tests/faults tests/attacks

# The dashboard in Debian's Chromium: apt-get install chromium
test-browser: install
	$(BIN)/pytest tests/browser

# Kills every part at every phase; a run that was broken off goes on where it stopped.
test-faults: install
	GROUNDSWELL_FAULTS=$$(git rev-parse HEAD) $(BIN)/pytest tests/faults

# What `make test` leaves out for its length: runs that are repeated or broken off, a region's run of
# real processes, and the like. The kill matrix has a target of its own.
test-slow: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow --ignore tests/faults --ignore tests/browser

# Every parser and every RPC meets invented input, a minute each; `make test` tries 200 inputs each.
test-fuzz: install
	OMP_NUM_THREADS=1 GROUNDSWELL_FUZZ_SECONDS=60 $(BIN)/pytest -m fuzz

# Builds the images and runs the demo federation in them; says which step failed where it can't.
test-docker: install
	docker/test-images.sh

# Tries to catch the privacy claim being wrong, on a rehearsal; exit code 1 when it does.
audit: install
	mkdir -p runs
	$(BIN)/groundswell audit --json runs/audit.json

# Every benchmark measures us and a peer in one run; quality takes about half an hour, the rest less
# in all. Query needs the demo's model and takes it from runs/demo, which it makes if it is missing.
bench: install
	mkdir -p runs/bench
	test -f runs/demo/model/manifest.json || $(BIN)/groundswell simulate --out runs/demo
	for name in train secure-sum federation ingest query phase demand demand-noise scale quality; do \
		OMP_NUM_THREADS=1 $(BIN)/groundswell bench $$name --json runs/bench/$$name.json || exit 1; \
	done

docs: install
	$(BIN)/python -m groundswell.shared.config_docs docs/config.md
	$(BIN)/python -m groundswell.server.gateway.openapi shared/wire/openapi.json

proto: install
	$(BIN)/python -m groundswell.shared.wire.generate

clean:
	rm -rf .venv runs dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
