PYTHON := $(shell command -v python3.11 || command -v python3)
PHOTO ?= samples/photo.png
READY := .venv/.ready

.PHONY: demo test check

demo: $(READY)
	.venv/bin/mtransfer transfer samples/bunny.mp4 $(PHOTO) -o out/demo --overwrite

test: $(READY)
	.venv/bin/python -m pytest -m "not needs_cuda"

check: $(READY)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

$(READY): pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "mtransfer needs Python 3.11 or newer; install python3.11 and run make again" >&2; exit 1; }
	@test -x .venv/bin/python || "$(PYTHON)" -m venv .venv
	.venv/bin/python -m pip install --quiet --editable '.[dev]'
	@touch $@
