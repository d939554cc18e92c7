# The verbs. CI runs the same ones and nothing else.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench serve up clean

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

# No tool reports home, none asks anything.
export MLFLOW_DISABLE_TELEMETRY := true
export BENTOML_DO_NOT_TRACK := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false

# Set-up leaves the compiling of modules to their first import, which keeps what it compiled.
export PYTHONDONTWRITEBYTECODE :=

# What the servers keep stays inside the project.
VAR := $(or $(PACKSHOT_VAR),$(CURDIR)/var)
export BENTOML_HOME ?= $(VAR)/bentoml
export PREFECT_HOME ?= $(VAR)/prefect

# They speak to each other directly, whatever proxy the downloads take.
comma := ,
export no_proxy := 127.0.0.1,localhost$(if $(no_proxy),$(comma)$(no_proxy))
export NO_PROXY := $(no_proxy)

export MLFLOW_PORT ?= 5000
export PREFECT_PORT ?= 4200
export SERVICE_PORT ?= 3000

help:  ## What there is
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY)  ## Make .venv from the exact pins of constraints.txt

$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "packshot needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@echo "setting up .venv (the downloads are about 3 GB the first time)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off -c constraints.txt setuptools
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off --no-compile -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $(READY)

demo: setup  ## The whole lifecycle on the built-in catalogue, to pictures over HTTP
	@packshot demo

test: setup  ## The whole suite
	@python -m pytest

check: setup  ## ruff, mypy --strict, import contracts
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports

bench: setup  ## The speed of each room, as ratios of one run, written to benchmarks/
	@for program in benchmarks/*.py; do echo "== $$program"; OMP_NUM_THREADS=1 python $$program || exit 1; done

serve: setup  ## The service with the champion
	@exec python -m services.generator

up: setup  ## MLflow, Prefect, a worker and the service together, on 127.0.0.1
	@honcho run python -m packshot.ports MLFLOW_PORT PREFECT_PORT SERVICE_PORT
	@exec honcho start

clean:  ## Remove what stages and servers made, the promotion ledger too; photos, params and Git stay
	rm -rf var .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find data -mindepth 2 -type f ! -name .gitignore ! -path 'data/catalog/*' -delete
	find data -mindepth 2 -type d -empty ! -path 'data/catalog*' -delete
