# Two commands do everything: `make demo` and `make test`. Both make the virtual environment first.
# `make demo IMAGES="one.jpg two.png"` has the shipped detector score pictures of yours too.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-browser lint types tests figures model lock clean

demo: $(VENV)/.installed
	$(BIN)/dgsnet demo $(foreach image,$(IMAGES),--image $(image))

test: lint types tests

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed
	$(BIN)/mypy

tests: $(VENV)/.installed
	$(BIN)/pytest -n 2 --dist loadgroup -m "not browser"

# The page of `dgsnet serve` in Chromium, which this installs nothing of.
test-browser: $(VENV)/.installed
	@test -n "$$CHROMIUM" || command -v chromium > /dev/null || \
	  { echo "make test-browser needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"; exit 1; }
	$(BIN)/pytest -m browser tests/service/test_page_browser.py

# The tables of the README from the committed results.
figures: $(VENV)/.installed
	$(BIN)/python -m tools.readme

# The shipped model from its lists: copies of the listed images, their tokens, head and calibration, graph and card. Restartable; hours.
# The tower stays as it is shipped. CORPUS may name a corpus that is there; otherwise it is rebuilt, which studies/corpus/README.md explains.
CORPUS ?= runs/corpus/images
SHIPPED ?= src/dgsnet/artifacts/shipped/dgsnet-b16

model: $(VENV)/.installed
	@test -n "$(REPOSITORIES)" || { echo "make model REPOSITORIES=DIR: DIR holds the listed repositories; \
	$(BIN)/python -m tools.clone_sources DIR brings them"; exit 1; }
	@test -e "$(CORPUS)/manifest.csv" || $(BIN)/python -m studies.corpus --repositories "$(REPOSITORIES)" --out "$(CORPUS)"
	$(BIN)/python -m studies.second_edition read --corpus "$(CORPUS)" --repositories "$(REPOSITORIES)"
	$(BIN)/python -m studies.second_edition fit --corpus "$(CORPUS)"
	$(BIN)/python -m studies.dgsnet_b16 ship "$(SHIPPED)"

# The environment is rebuilt when what it is made from changes.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	touch $@

# Write the versions of this environment to constraints.txt.
lock:
	$(BIN)/pip freeze --exclude-editable --exclude pip --exclude dgsnet | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
