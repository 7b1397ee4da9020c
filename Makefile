# make demo    explain a real movie review: tokens, positions, the closed ledger, demo.html
# make check   the daily round: style, types, a core of the tests; under 90 seconds on two cores
# make test    everything: style, types, rules, models, notebooks, views in a real browser
# make lab     open the tutorials
# make processors   all tests as on other processors: older instructions, one thread and two; PART=avx2/2 for one of them
# make floors  the oldest versions claimed to work, in an environment of their own
# make colab   the widget tests, and the tutorials' first cells, with the versions that Google Colab has
# make quantised   weights quantised by torchao, in an environment that has it
# make grading 100 generated submissions, good to hostile, and every lab untouched and solved, graded and compared with their worth
# make binder  an environment with Binder's pins, one thread and 1.5 GB, runs all tutorials
# make docs    the documentation site, in build/docs, and its own tests
# make release   wheel and source archive built twice, checked, installed and used as a stranger would; PYTHON_OF=python3.13 for another
# make hashes  the hashes of all that is pinned, in hashes/, after a pin has changed
# make lint | wheel | clean

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo check test suite lab lint wheel clean chromium sandbox floors colab quantised grading binder processors docs release hashes
.DELETE_ON_ERROR:

help:
	@sed -n '/^$$/q; s/^# //p' Makefile

$(VENV)/.made: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Type: make PYTHON=python3.12 ..."; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
	  { echo "$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu type: apt install python3-venv"; exit 1; }
	@echo "installing into $(VENV) (PyTorch is large; this takes some minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check torch -c constraints.txt
	@$(PIP) -e .
	@touch $@

$(VENV)/.made-test: $(VENV)/.made
	@$(PIP) -e '.[test,lab,teach]'
	@touch $@

$(VENV)/.made-lab: $(VENV)/.made
	@$(PIP) -e '.[lab]'
	@touch $@

demo: $(VENV)/.made
	@HF_HUB_OFFLINE=1 $(BIN)/python -m pelrp_nb demo

lab: $(VENV)/.made-lab
	@HF_HUB_OFFLINE=1 $(BIN)/jupyter lab tutorials

lint: $(VENV)/.made-test
	@$(BIN)/ruff check --quiet pelrp_nb tests docs
	@$(BIN)/ruff format --check --quiet pelrp_nb tests docs
	@$(BIN)/python tests/house.py
	@$(BIN)/mypy

CORE := house imports checked rules rules_attention engine in_a_page ledger positions facts any_model bad_input explanation
check: lint
	@HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -q -n $(JOBS) $(CORE:%=tests/test_%.py)

# The headless shell opens a page for a fifth of the processor time that the whole browser takes.
chromium:
	@found() { command -v chromium-headless-shell || command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null; \
	as=$$([ "$$(id -u)" = 0 ] || echo "sudo -n"); export DEBIAN_FRONTEND=noninteractive; \
	got() { $$as apt-get install -y -qq --no-install-recommends $$1 fonts-dejavu-core >/dev/null 2>&1; }; \
	if command -v chromium-headless-shell >/dev/null; then exit 0; \
	elif command -v apt-get >/dev/null && $$as true 2>/dev/null; then \
	  $$as apt-get update -qq || true; got chromium-headless-shell || found || got chromium; \
	elif found; then exit 0; \
	elif command -v dnf >/dev/null && $$as true 2>/dev/null; then $$as dnf install -y -q chromium; fi; \
	found || echo "The browser tests are skipped: install Chromium (Debian, Fedora: package chromium; macOS: brew install chromium)."

sandbox:
	@as=$$([ "$$(id -u)" = 0 ] || echo "sudo -n"); export DEBIAN_FRONTEND=noninteractive; \
	if command -v bwrap >/dev/null; then exit 0; \
	elif command -v apt-get >/dev/null && $$as true 2>/dev/null; then \
	  $$as apt-get update -qq && $$as apt-get install -y -qq --no-install-recommends bubblewrap >/dev/null; \
	elif command -v dnf >/dev/null && $$as true 2>/dev/null; then $$as dnf install -y -q bubblewrap; fi; \
	command -v bwrap >/dev/null || echo "The tests of grading are skipped: install bubblewrap (Debian, Fedora: package bubblewrap)."

test: $(VENV)/.made-test chromium sandbox
	@$(MAKE) --no-print-directory -j2 lint suite
	@$(MAKE) --no-print-directory -j2 colab quantised
	@$(MAKE) --no-print-directory docs

# Tests start many processes; without bytecode each would compile the package again.
suite: $(VENV)/.made-test
	@PYTHONDONTWRITEBYTECODE= HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder \
	  --nbval --nbval-current-env --nbval-sanitize-with tutorials/sanitize.cfg tests tutorials

processors: $(VENV)/.made-test chromium sandbox
	@$(BIN)/python tests/processors.py $(PART)

# An environment that has a few packages of its own; everything else is that of the environment beside it.
COLAB     := .venv-colab
QUANTISED := .venv-quantised
DOCS      := .venv-docs
$(COLAB)/.made: OWN := --no-deps -r colab.txt
$(QUANTISED)/.made: OWN := --no-deps torchao -c constraints.txt
$(DOCS)/.made: OWN := -e '.[docs]' -c constraints.txt
$(COLAB)/.made: colab.txt
$(QUANTISED)/.made $(DOCS)/.made: constraints.txt
$(COLAB)/.made $(QUANTISED)/.made $(DOCS)/.made: $(VENV)/.made-test
	@$(BIN)/python -m venv --clear --without-pip $(@D)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
	  "$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth"
	@$(BIN)/python -m pip --python $(@D)/bin/python install --quiet --disable-pip-version-check $(OWN)
	@touch $@

colab: $(COLAB)/.made
	@PYTHONPATH=. HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(COLAB)/bin/python -m pytest -q -p no:cacheprovider -W ignore::DeprecationWarning \
	  tests/test_views_widget.py tests/test_tutorials_colab.py

quantised: $(QUANTISED)/.made
	@$(QUANTISED)/bin/python -W ignore -c 'import torchao.quantization'        # else its tests would be skipped
	@PYTHONPATH=. OMP_NUM_THREADS=1 $(QUANTISED)/bin/python -m pytest -q -p no:cacheprovider tests/test_places.py -k torchao

docs: $(DOCS)/.made chromium
	@PYTHONPATH=. HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(DOCS)/bin/python -m sphinx -q -W --keep-going -E -a -j $(JOBS) -c docs -b html . build/docs
	@PELRP_SITE=build/docs OMP_NUM_THREADS=1 $(DOCS)/bin/python -m pytest -q -p no:cacheprovider tests/test_site.py

grading: $(VENV)/.made-test sandbox
	@OMP_NUM_THREADS=1 $(BIN)/python tests/handed_in.py 100
	@OMP_NUM_THREADS=1 $(BIN)/python tests/handed_in.py labs

binder: $(VENV)/.made
	@$(BIN)/python -m pelrp_nb labs binder-check

wheel: $(VENV)/.made
	@$(BIN)/python -m pip wheel --quiet --no-deps -w dist .
	@ls -l dist

RELEASE := .venv-release
$(RELEASE)/.made: pyproject.toml constraints.txt
	@$(PYTHON) -m venv --clear $(RELEASE)
	@$(RELEASE)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling twine uv
	@touch $@

hashes: $(RELEASE)/.made
	@$(RELEASE)/bin/python tests/hashes.py

release: $(RELEASE)/.made
	@$(RELEASE)/bin/python tests/release.py $(PYTHON_OF)

clean:
	rm -rf build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache

FLOORS := .venv-floors
floors:
	@test -x $(FLOORS)/bin/python || $(PYTHON) -m venv $(FLOORS)
	@$(FLOORS)/bin/python -m pip install --quiet --disable-pip-version-check -r floors.txt \
	  $$(grep -E '^(beartype|hypothesis|pytest|pytest-timeout|pytest-xdist|scipy)==' constraints.txt)
	@$(FLOORS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(FLOORS)/bin/python -m pytest -q -n $(JOBS) -p no:cacheprovider tests/test_rules.py \
	  tests/test_engine.py tests/test_ledger.py tests/test_facts.py tests/test_bad_input.py tests/test_any_model.py tests/test_golden.py \
	  tests/test_precision.py tests/test_checkpoint.py tests/test_places.py tests/test_plan.py \
	  tests/test_batches.py tests/test_targets.py tests/test_only.py
