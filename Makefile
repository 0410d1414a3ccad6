# Everything runs in .venv, which the first target that needs it makes. `make demo` and `make test` each work alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := test,dev
export OMP_NUM_THREADS ?= 1

.PHONY: help install demo test test-all test-qgis qgis-plugin peers check format benchmark tables wheel release-check lint-workflows container conda-recipe test-browser assets clean

help:
	@echo "make demo       fuse real data (Indian Pines), print scores, draw a figure into demo-output/"
	@echo "make test       the fast tests    make test-all   all tests"
	@echo "make peers      install the programs of others that tests compare with, next to .venv"
	@echo "make test-browser  the tests of the pages, in chromium; installs it on Debian where it may"
	@echo "make assets     fetch the libraries of the viewer's page with npm"
	@echo "make test-qgis  the plugin in QGIS, which is installed (Debian or Ubuntu, as root)"
	@echo "make qgis-plugin  build the zip of the QGIS plugin into dist/"
	@echo "make check      lint, types and layers   make format     format the code"
	@echo "make benchmark DATA=FOLDER  renew benchmarks/results/ (hours; goes on where it was stopped), then make tables"
	@echo "make tables     write the tables of the README and docs/ from benchmarks/results/"
	@echo "make wheel      build the package into dist/"
	@echo "make release-check  all that must hold before a release; leaves the distributions in dist/"
	@echo "make container  build the image of the Dockerfile with buildah (root, Debian) and fuse a pair in it"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

demo: $(STAMP)
	OMP_NUM_THREADS=2 $(BIN)/hyperfuse demo demo-output --overwrite

test: $(STAMP)
	$(BIN)/pytest -q -n 2 -m "not slow and not qgis"

test-browser: $(STAMP)
	.ci/chromium
	$(BIN)/pytest -q -n 2 --dist loadgroup -m browser tests/viewer tests/reports

test-all: $(STAMP)
	$(BIN)/pytest -q -n 2 -m "not qgis"

test-qgis: $(STAMP)
	.ci/qgis
	$(BIN)/pytest -q -n 2 -m qgis tests/qgis_plugin

qgis-plugin:
	$(PYTHON) qgis/build.py dist

# Without their dependencies, which are in .venv or, pinned by HyperBench to old versions, are not used: 10 s, 200 MB.
PEERS := .peers
PEER_HYPERBENCH := hyperbench==0.1.0 spectral==0.25 opencv-python-headless==5.0.0.93
PEER_DEEPINV := deepinv==0.5.0 torchvision==0.28.0 einops==0.8.2 natsort==8.4.0 requests==2.34.2 urllib3==2.8.0 \
	charset_normalizer==3.5.3
PEER_INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target

peers: $(PEERS)/hyperbench $(PEERS)/deepinv

$(PEERS)/hyperbench: | $(STAMP)
	rm -rf $@.part && $(PEER_INSTALL) $@.part $(PEER_HYPERBENCH) && mv $@.part $@

$(PEERS)/deepinv: | $(STAMP)
	rm -rf $@.part && $(PEER_INSTALL) $@.part $(PEER_DEEPINV) && mv $@.part $@

check: $(STAMP)
	$(BIN)/ruff check src tests benchmarks qgis
	$(BIN)/ruff format --check src tests benchmarks qgis
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format src tests benchmarks qgis
	$(BIN)/ruff check --fix src tests benchmarks qgis

benchmark: $(STAMP)
	@test -n "$(DATA)" || { echo "make benchmark DATA=FOLDER: benchmarks/scenes.py says what FOLDER holds"; exit 2; }
	PYTHON=$(BIN)/python bash benchmarks/all.sh "$(DATA)"

tables: $(STAMP)
	$(BIN)/python benchmarks/readme_tables.py

assets:
	$(PYTHON) .ci/assets

wheel: $(STAMP)
	$(BIN)/python -m build --outdir dist .

release-check:
	PYTHON=$(PYTHON) .ci/release-check

lint-workflows:
	PYTHON=$(PYTHON) .ci/lint-workflows

container:
	.ci/container

conda-recipe:
	PYTHON=$(PYTHON) .ci/release-tools
	.venv-release/bin/python conda/write_recipe.py

clean:
	rm -rf dist build demo-output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
