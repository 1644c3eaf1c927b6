# Two commands matter on a fresh machine: make demo, make test. Both set up .venv first where it is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test gates results-check reference readme lint bench clean

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt tools/install_torch.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cpbench needs Python 3.11 or newer; try: make setup PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python tools/install_torch.py
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@# a step of its own: recbole:NAME is worth seconds of set-up, but no demo may fail for it
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[recbole]' || \
		echo 'RecBole could not be installed: recbole:NAME is not available, everything else is'
	@touch $@

# threads that wait sleep: beside other work, spinning takes twice the time (docs/speed.md)
demo: setup
	@OMP_WAIT_POLICY=passive $(BIN)/cpbench run --model popularity,sasrec,climber-pilot --dataset streaming --results .demo/results
	@$(BIN)/cpbench report --dataset streaming --results .demo/results
	@$(BIN)/cpbench report --dataset streaming --results .demo/results --format markdown > .demo/report.md
	@echo "The table as Markdown: .demo/report.md; every record behind it: .demo/results"

test: setup  # a process a core; a file's tests stay together: they share what was trained for them
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not gate" -n logical --maxprocesses 4 --dist loadfile

gates: setup
	$(BIN)/python -m pytest -m gate -s

results-check: setup
	$(BIN)/cpbench verify --results results/reference

reference: setup  # days on two cores; what is done is skipped
	$(BIN)/python tools/reference_grid.py

readme: setup
	$(BIN)/python tools/readme.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python tests/bench/compare.py

clean:
	rm -rf .demo .gates .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
