# make serve       the service on http://HOST:PORT (base install, no torch)
# make test        the default tests            make test-slow   the heavier suites
# make test-browser   the playground, in Debian's chromium or the one that CHROMIUM names
# make test-image  the container image, built without an engine and started (root; buildah, debootstrap)
# make image       the same into build/image, and its size
# make check       format, lint, types          make format      write the format
# make bench       every benchmark, as tables   make venv        the full environment, nothing else
#
# make vendor      the JavaScript libraries of the pages, fetched again (needs npm)
#
# Each makes .venv first, and again only when pyproject.toml or constraints.txt has changed.
# On Linux torch may come with gigabytes of CUDA packages; to have it without them, point PIP_EXTRA_INDEX_URL at
# PyTorch's own index of CPU builds.

# The tests start many processes, which start faster when Python keeps what it compiles.
export PYTHONDONTWRITEBYTECODE :=

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
BUNDLE ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
BASE := .venv/base.stamp
DEV := .venv/dev.stamp
# Side by side, each file of tests in one process; files in the order of their names: the long ones are not last.
SIDE_BY_SIDE := --numprocesses logical --maxprocesses 4 --max-worker-restart 0 --dist loadfile --no-loadscope-reorder
BENCHMARKS := $(sort $(basename $(notdir $(wildcard tests/benchmarks/bench_*.py))))

.PHONY: serve test test-slow test-browser test-image image check format bench venv vendor clean

serve: $(BASE)
	$(BIN)/polyseme serve --host $(HOST) --port $(PORT) $(if $(BUNDLE),--bundle $(BUNDLE))

test: $(DEV)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-slow: $(DEV)
	$(BIN)/python -m pytest -m slow $(SIDE_BY_SIDE)

test-browser: $(DEV)
	$(BIN)/python -m pytest -m browser

test-image: $(DEV)
	$(BIN)/python -m pytest -m image

image: $(DEV)
	rm -rf build/image
	PYTHON=$(BIN)/python deploy/build_image.sh build/image
	$(BIN)/python -m tests.deploy.image_sizes build/image

check: $(DEV)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(DEV)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(DEV)
	@set -e; for name in $(BENCHMARKS); do $(BIN)/python -m tests.benchmarks.$$name; done

venv: $(DEV)

# The libraries of the two pages, at the versions that their folders name: what is committed, fetched again.
vendor:
	./service/static/fetch.sh

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache

$(BASE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Polyseme needs Python 3.11 or newer; $(PYTHON) is not (choose another: make PYTHON=python3.12)"; exit 1; } >&2
	$(PYTHON) -m venv .venv
	$(PIP) install --editable . --constraint constraints.txt
	@touch $@

# Dependency groups need a newer pip than the one that comes with Python 3.11 to 3.13.
$(DEV): $(BASE)
	$(PIP) install pip --upgrade --constraint constraints.txt
	$(PIP) install --editable '.[train,otel,baselines,cluster,completion]' --group dev --constraint constraints.txt
	@touch $@
