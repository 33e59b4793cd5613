# make              set up .venv, run the main job: results/benchmarks.csv, and the figures beside it
# make test         set up .venv, run the tests
# make slow         the tests that take minutes
# make check        formatting, lint, types
# make report       results/workflow.html, after a run
# make peers        the peers' dearer settings: results/peers.csv (hours), and all together: best_by_bytes_peers.csv,
#                   compression_peers.csv
# make ablation     what each part of matryoshka's training is worth: results/ablation.csv, results/prefixes.csv and a
#                   figure (about an hour)
# make matryoshka   matryoshka codes trained for long, beside faiss's best, in runs/matryoshka (hours); OVER=mine.yaml
#                   is laid over config/matryoshka.yaml
# make spikes       spike codes at more sizes beside other programs' encoders, in runs/spikes; `make spike-peers` first
# make snn-base     the spiking and the dense language model at size base, in runs/snn_base (about an hour)
# make snn-popspike PopSpike, its controls and baselines over five seeds, in runs/snn_popspike_1 (T = 1 step a word, size
#                   small); TIMESTEPS=4 and MODEL=base give others, in folders of their own (hours; a GPU helps)
# make snn-sentences  Spikformer as a sentence encoder, and its vectors by the codecs of the table, in runs/snn_sentences
# make snn-ablation attention with and without phases and other positions, five seeds: results/snn_ablation.csv, a figure
# make performance  ours against other programs: results/performance.csv
# make spike-peers  install Norse and Nengo too, whose encoders pipeline/spikes/spike_peers.py runs
# make constraints  pin the newest versions again in envs/
# make clean        remove all that was made, but for runs/ and what an endpoint was paid for

PYTHON ?= python3
FAISS ?= cpu
TIMESTEPS ?= 1
MODEL ?= small
VENV := .venv
BIN := $(VENV)/bin
SNAKEMAKE := $(BIN)/snakemake --cores all
SNN_OPTIONS = {options: {model: $(MODEL), timesteps: $(TIMESTEPS)}}
SNN_POPSPIKE = runs/snn_popspike_$(TIMESTEPS)$(if $(filter-out small,$(MODEL)),_$(MODEL))

.PHONY: all test slow check report peers ablation matryoshka spikes snn-base snn-popspike snn-sentences snn-ablation \
	performance spike-peers constraints clean
.DELETE_ON_ERROR:

all: $(VENV)/installed
	$(SNAKEMAKE) results/benchmarks.csv all

test: $(VENV)/installed
	$(BIN)/pytest

slow: $(VENV)/installed
	$(BIN)/pytest -m slow

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy

report: $(VENV)/installed
	$(SNAKEMAKE) --report results/workflow.html

peers: $(VENV)/installed
	$(SNAKEMAKE) results/peers.csv results/best_by_bytes_peers.csv results/compression_peers.csv

ablation: $(VENV)/installed
	$(SNAKEMAKE) results/ablation.csv results/prefixes.csv results/figures/ablation.png

matryoshka: $(VENV)/installed
	$(SNAKEMAKE) results/benchmarks.csv results/best_by_bytes.csv results/figures/recall_by_bytes.png \
		results/figures/distortion_by_bytes.png analogy_shares --configfile config/matryoshka.yaml $(OVER) \
		--directory runs/matryoshka

spikes: $(VENV)/installed
	$(SNAKEMAKE) results/benchmarks.csv spikes --configfile config/spikes.yaml --directory runs/spikes

snn-base: $(VENV)/installed
	$(SNAKEMAKE) results/snn.csv snn --configfile config/snn_base.yaml --directory runs/snn_base

snn-popspike: $(VENV)/installed
	mkdir -p $(SNN_POPSPIKE)
	echo 'snn: {next_word: $(SNN_OPTIONS), store_recall: $(SNN_OPTIONS)}' > $(SNN_POPSPIKE)/options.yaml
	$(SNAKEMAKE) results/snn.csv snn --configfile config/snn_popspike.yaml $(SNN_POPSPIKE)/options.yaml $(OVER) \
		--directory $(SNN_POPSPIKE)

snn-sentences: $(VENV)/installed
	$(SNAKEMAKE) results/snn.csv --configfile config/snn_sentences.yaml --directory runs/snn_sentences
	$(SNAKEMAKE) results/benchmarks.csv --configfile config/snn_sentences.yaml config/sentence_vectors.yaml \
		--directory runs/snn_sentences

snn-ablation: $(VENV)/installed
	$(SNAKEMAKE) results/snn_ablation.csv results/figures/snn_ablation.png

performance: $(VENV)/installed
	$(SNAKEMAKE) results/performance.csv

# uv installs ten times faster than pip. Wheels that pip is told to find (PIP_FIND_LINKS) it finds too. Bytecode is
# written here, because containers often forbid Python to write it (PYTHONDONTWRITEBYTECODE): each of the workflow's
# processes would then compile torch and the others anew, 1.5 to 5 s.
INSTALL = UV_FIND_LINKS="$$PIP_FIND_LINKS" $(BIN)/uv pip install --compile-bytecode --python $(BIN)/python \
	--constraint envs/$(FAISS).txt --override envs/overrides.txt

$(VENV)/installed: pyproject.toml envs/$(FAISS).txt envs/overrides.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint envs/$(FAISS).txt uv
	$(INSTALL) --editable '.[$(FAISS),dev]'
	touch $@

spike-peers: $(VENV)/installed
	$(INSTALL) --editable '.[$(FAISS),dev,spike-peers]'

# faiss-cpu and faiss-gpu own the same folder, so each has its own set.
constraints: $(VENV)/installed
	$(BIN)/uv pip compile --quiet --universal --upgrade --no-annotate --no-header --python-version 3.11 \
		--override envs/overrides.txt --extra cpu --extra dev --extra spike-peers pyproject.toml --output-file envs/cpu.txt
	$(BIN)/uv pip compile --quiet --universal --upgrade --no-annotate --no-header --python-version 3.11 \
		--override envs/overrides.txt --extra gpu --extra dev --extra spike-peers pyproject.toml --output-file envs/gpu.txt

# All but what an endpoint was paid for (data/embeddings/paid), and runs of other configurations: they may hold the same.
clean:
	rm -rf $(VENV) .snakemake results logs data/benchmarks data/corpus
	if [ -d data/embeddings ]; then find data/embeddings -mindepth 1 -maxdepth 1 ! -name paid -exec rm -rf {} +; fi
