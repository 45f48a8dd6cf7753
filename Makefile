# Every target is a chore of dev.py; arguments go in ARGS: make test ARGS="--fast -k sqlite"
PYTHON ?= python3
ARGS ?=

CHORES = demo test lint format types build bench check setup clean

.PHONY: help $(CHORES)

help:
	@$(PYTHON) dev.py

$(CHORES):
	@$(PYTHON) dev.py $@ $(ARGS)
