# The commands of a contributor; CONTRIBUTING.md describes them.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup test quick lint docs demo

setup:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -e ".[dev,docs]" -c constraints.txt

test:
	$(BIN)/pytest -n auto --dist loadfile

quick:
	$(BIN)/pytest -n auto --dist loadfile -m "not slow"

lint:
	.ci/lint $(BIN)

docs:
	.ci/docs $(BIN)

demo:
	$(BIN)/hf-xlt demo
