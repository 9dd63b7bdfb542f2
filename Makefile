# The environment is made once, by the first target that needs it, and again when its locks change.
.DEFAULT_GOAL := help
.PHONY: help math-data code-data science-data data branches merge eval report upload mini test check smoke bench
# Packages are installed without bytecode, which is written at first import: vLLM's takes 16 s of CPU
# without it and 8 s with it, at every start.
unexport PYTHONDONTWRITEBYTECODE
READY := .venv/.ready
RUN = .venv/bin/tracecraft run
WHICH = $(if $(filter command,$(origin RUN)),$(RUN),latest)
STUDENT = $(or $(RECIPE),recipes/branches.yaml)
OPTIONS = $(if $(LIMIT),--limit $(LIMIT)) $(if $(STORE),--store $(STORE))

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo "  make math-data RECIPE=file LIMIT=problems STORE=folder   each may be left out"

math-data: $(READY)  ## problems, teacher traces, verified Arrow shards, and a report
	$(RUN) "$${RECIPE:-$$(.venv/bin/python tools/environment.py recipe)}" $(OPTIONS)

code-data: $(READY)  ## the same for programs, each run against its tests
	$(RUN) "$${RECIPE:-$$(.venv/bin/python tools/environment.py recipe code)}" $(OPTIONS)

science-data: $(READY)  ## the same for choices and quantities
	$(RUN) "$${RECIPE:-$$(.venv/bin/python tools/environment.py recipe science)}" $(OPTIONS)

data: math-data code-data science-data  ## all three domains

branches: $(READY)  ## a branch a domain, of recipes/branches.yaml or RECIPE
	$(RUN) "$(STUDENT)" --until branches $(OPTIONS)

merge: $(READY)  ## the branches become one
	$(RUN) "$(STUDENT)" --until merge $(OPTIONS)

# A run's name only where it is said on the command line: above, RUN is what carries recipes out.
upload: $(READY)  ## push what the recipe's section publish names, of RUN or the latest run
	.venv/bin/tracecraft push "$(WHICH)" \
	  $(if $(REPO),--repo "$(REPO)") $(if $(STORE),--store "$(STORE)")

mini: $(READY)  ## the method in miniature on a CPU, over five seeds or SEEDS; docs/miniature.md
	.venv/bin/python tools/mini.py $(if $(SEEDS),--seeds $(SEEDS)) $(if $(STORE),--store $(STORE))

eval: $(READY)  ## every model on every benchmark that the recipe of the branches names
	$(RUN) "$(STUDENT)" --until evaluate $(OPTIONS)

report: $(READY)  ## the latest run, or RUN, as one HTML file
	.venv/bin/tracecraft report "$(WHICH)" $(if $(STORE),--store $(STORE))

test: $(READY)  ## the fast tests: no GPU, no network
	.venv/bin/pytest -q -n 2 -m "not slow and not gpu and not network"

check: $(READY)  ## lint, format, types, import layers; changes nothing
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

smoke: $(READY)  ## the whole of recipes/smoke.yaml with a replayed teacher, in seconds
	$(RUN) recipes/smoke.yaml $(OPTIONS)

bench: $(READY)  ## our speed beside that of others; minutes
	@for file in benchmarks/*.py; do echo "== $$file"; .venv/bin/python $$file || exit 1; done

$(READY): tools/environment.py pyproject.toml requirements/base.txt requirements/cpu.txt requirements/gpu.txt
	@$(or $(PYTHON),python3) tools/environment.py
