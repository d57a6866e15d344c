# Two commands do everything: `make demo` and `make test`. Both make the virtual environment first.
# `make demo IMAGES="one.jpg two.png"` has the shipped detector score pictures of yours too.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-browser lint types tests figures lock clean

demo: $(VENV)/.installed
	$(BIN)/dgsnet demo $(foreach image,$(IMAGES),--image $(image))

test: lint types tests

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

tests: $(VENV)/.installed
	$(BIN)/pytest -n 2 --dist loadgroup -m "not browser"

# The page of `dgsnet serve` in Chromium, which this installs nothing of.
test-browser: $(VENV)/.installed
	@test -n "$$CHROMIUM" || command -v chromium > /dev/null || \
	  { echo "make test-browser needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"; exit 1; }
	$(BIN)/pytest -m browser tests/service/test_page_browser.py

# The tables of the README from results/.
figures: $(VENV)/.installed
	$(BIN)/python experiments/readme.py

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
