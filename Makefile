PYTHON := $(shell command -v python3.11 || command -v python3)
READY := .venv/.ready

.PHONY: demo test test-slow check train-data train-flow train-denoiser train-evaluate

demo: $(READY)
	.venv/bin/mtransfer transfer samples/cup.mp4 samples/wooden_bird.jpg --pair 32:42 -o out/demo --overwrite

test: $(READY)
	.venv/bin/python -m pytest -m "not slow and not needs_cuda"

test-slow: $(READY)
	.venv/bin/python -m pytest -m "slow and not needs_cuda"

check: $(READY)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# From Debian's free pictures to the embedded weights; each goes on where it stopped.
train-data: $(READY)
	.venv/bin/python -m training.images

train-flow: $(READY)
	.venv/bin/python -m training.flow_net

train-denoiser: $(READY)
	.venv/bin/python -m training.denoiser

train-evaluate: $(READY)
	.venv/bin/python -m training.evaluate

$(READY): pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "mtransfer needs Python 3.11 or newer; install python3.11 and run make again" >&2; exit 1; }
	@test -x .venv/bin/python || "$(PYTHON)" -m venv .venv
	.venv/bin/python -m pip install --quiet --editable '.[dev]'
	@touch $@
