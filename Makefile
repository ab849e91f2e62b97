# Archive a day of an organisation's O2 messages and calls into its mailboxes, on this machine, in one command.
# Options: make demo ITEMS=2000 USERS=25 SEED=1 DAY=2026-11-21 ZONE=Europe/London CORPUS=texts.jsonl.gz PYTHON=python3.12

PYTHON ?=
ITEMS  ?= 2000
USERS  ?= 25
SEED   ?= 1
ZONE   ?= Europe/London
DAY    ?=
CORPUS ?=
WINDOW ?=
MAPPINGS ?=

bin     := .venv/bin
options  = --items '$(ITEMS)' --users '$(USERS)' --seed '$(SEED)' --zone '$(ZONE)' \
           $(if $(DAY),--day '$(DAY)') $(if $(CORPUS),--corpus '$(CORPUS)')

.PHONY: help demo up down week check-mapping mapping-diff test torture lint lock install bench-staging bench-import bench-convert bench-directory bench-map bench-page bench-explain
.DEFAULT_GOAL := help

# Airflow starts in half the time when Python may keep its bytecode.
unexport PYTHONDONTWRITEBYTECODE

## Say what there is to make.
help:
	@awk '/^## /{text = substr($$0, 4)} /^[a-z-]+:/{if (text) printf "  make %-16s %s\n", substr($$1, 1, length($$1) - 1), text; text = ""}' $(MAKEFILE_LIST)
	@sed -n 's/^# Options: /\n  Options: /p' $(MAKEFILE_LIST)

## Archive yesterday from the sandbox into the sandbox's mailboxes with a real Airflow, show the book, end everything.
demo: install
	@exec $(bin)/python -m demo demo $(options)

## The same, and leave it running to click around in.
up: install
	@exec $(bin)/python -m demo up $(options)

## Play a week with its troubles, and leave the archive page's pictures, the notices and the status in .demo/week.
week: install
	@exec $(bin)/python -m demo.week

## End what `make up` started.
down:
	@test -x $(bin)/python || { echo "Nothing is up: nothing has been set up here."; exit 0; }; exec $(bin)/python -m demo down

## Say what is not right in the mapping files, before a run does: make check-mapping [MAPPINGS=folder].
check-mapping: install
	@exec $(bin)/o2-archive check-mapping $(if $(MAPPINGS),'$(MAPPINGS)')

## Say what changed mapping files would do to archived days: make mapping-diff WINDOW=2026-11-21 [MAPPINGS=folder].
mapping-diff: install
	@exec $(bin)/o2-archive mapping-diff '$(WINDOW)' $(if $(MAPPINGS),'$(MAPPINGS)')

## Run every test.
test: install
	@exec $(bin)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

## Kill importing workers 1,000 times while Graph and staging do wrong, then count in the mailboxes (12 minutes).
torture: install
	@exec $(bin)/python -m tests.torture

## Check style and types.
lint: install
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy

## Measure staging on Azurite, beside the Azure provider's own hook.
bench-staging: install
	@exec $(bin)/python -m benchmarks.staging

## Measure the import on the sandbox's Graph, beside msgraph-sdk, the Azure provider's operator and a plain loop.
bench-import: install
	@exec $(bin)/python -m benchmarks.importing $(if $(CORPUS),--corpus '$(CORPUS)')

## Measure the conversion on one core, beside the standard library's EmailMessage and MIMEText.
bench-convert: install
	@exec $(bin)/python -m benchmarks.converting $(if $(CORPUS),--corpus '$(CORPUS)')

## Measure how the directory is asked for 10,000 addresses, beside a loop of single requests.
bench-directory: install
	@exec $(bin)/python -m benchmarks.directory

## Measure the mapping step for a million participants, beside the row-by-row ways.
bench-map: install
	@exec $(bin)/python -m benchmarks.mapping

## Measure how long one item's explanation takes in a day of 100,000, beside grep and a loop that decodes all.
bench-explain: install
	@exec $(bin)/python -m benchmarks.explaining

## Measure the archive page with five years of days, beside Airflow's own pages of the same runs.
bench-page: install
	@PYTHONPATH=plugins exec $(bin)/python -m benchmarks.page

## Resolve requirements.txt into requirements.lock, for every Python from 3.11 to 3.14.
lock: install
	@exec $(bin)/python demo/install.py lock

## Make .venv from requirements.lock; the others do it by themselves.
install:
	@python=$$(demo/find-python '$(PYTHON)') && exec "$$python" demo/install.py install
