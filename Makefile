# Everything runs in .venv, which the first target that needs it makes. `make demo` and `make test` each work alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LINTED := src tests benchmarks qgis examples notebooks docs/conf.py docs/_extensions
DOCS := $(VENV)/.docs
EXTRAS := test,dev
SPHINX := $(BIN)/python -m sphinx --quiet --fail-on-warning --conf-dir docs --doctree-dir build/docs/doctrees
export OMP_NUM_THREADS ?= 1

.PHONY: help install demo test test-all test-qgis qgis-plugin peers check format benchmark tables wheel release-check lint-workflows container conda-recipe test-browser assets docs docs-quick docs-check diagrams notebooks clean

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
	@echo "make docs       the site, with its gallery and notebooks run, into site/   make docs-quick   without running them"
	@echo "make docs-check  look at site/ in Chromium: links, search, no request elsewhere"
	@echo "make notebooks  run notebooks/   make diagrams   draw the diagrams of docs/*.md that have no picture yet"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

# Sphinx and Jupyter, for the targets that need them.
$(DOCS): $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
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
	$(BIN)/ruff check $(LINTED)
	$(BIN)/ruff format --check $(LINTED)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format $(LINTED)
	$(BIN)/ruff check --fix $(LINTED)

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

docs: $(DOCS)
	$(SPHINX) . site

docs-quick: $(DOCS)
	$(SPHINX) -D plot_gallery=0 -D nb_execution_mode=off . build/docs/quick

docs-check: $(DOCS)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	$(BIN)/pytest -q -n 0 -m site tests/site

diagrams: $(DOCS)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	$(BIN)/python docs/_extensions/draw_mermaid.py

notebooks: $(DOCS)
	$(BIN)/pytest -q -n 2 --nbmake --nbmake-timeout=300 -p no:cacheprovider notebooks

clean:
	rm -rf dist build site jupyter_execute docs/api docs/gallery demo-output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
