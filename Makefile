.DEFAULT_GOAL := help
.PHONY: help demo test faults fuzz docs lint types format proto check bench bench-smoke lock sbom

help:  ## Say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo:  ## Bring a sample databank home, on this machine alone
	bin/demo

test:  ## Install what the tests need and run every check
	bin/test

faults:  ## Do to the service all that may happen to it in a year; takes about a quarter of an hour
	bin/install test
	.venv/bin/pytest -q -n 4 -m "slow or not slow" tests/faults

fuzz:  ## Feed each parser what servers and messages might hold, for MINUTES (10) each
	bin/install test
	.venv/bin/pip install --quiet "atheris>=3.0"
	.venv/bin/python -m tests.fuzz $(or $(MINUTES),10)

docs:  ## Build the documentation into site/; whatever is wrong in it is an error
	bin/install test
	.venv/bin/mkdocs build --strict

lint:  ## Check style
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/bandit -q -r biomaj_download bin gunicorn_conf.py

types:  ## Check types
	.venv/bin/mypy --strict biomaj_download

format:  ## Put the code in style
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

proto:  ## Generate downmessage_pb2 anew; fail where it was not up to date
	bin/proto

lock:  ## Write requirements.lock anew: the newest releases that requirements.txt allows, with hashes
	.venv/bin/pip install -q pip-tools
	CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/pip-compile -q --upgrade --generate-hashes --strip-extras \
	    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links -o requirements.lock requirements.txt

sbom:  ## Write the bill of materials of what requirements.lock names: sbom.json (CycloneDX)
	.venv/bin/pip install -q cyclonedx-bom
	.venv/bin/cyclonedx-py requirements --output-reproducible --of JSON -o sbom.json requirements.lock

check: lint types proto  ## Check what is installed already, before a commit
	.venv/bin/pytest -q

bench:  ## Measure side by side with 3.2.12, curl, aria2, lftp, rclone and wget2; takes more than an hour
	bin/install bench
	.venv/bin/python -m benchmarks

bench-smoke:  ## Run each benchmark for a moment
	bin/install bench
	.venv/bin/python -m benchmarks --smoke
