"""Source `skipgram`: word vectors that the project's own trainer learns on its own corpus, by skip-gram with negative
sampling (Mikolov et al. 2013, arXiv:1310.4546; pipeline/training/skipgram.py), in one process or in many.

Words and sentences are those of `fasttext_train`. Checkpoints lie in `data/embeddings/.skipgram-<digest>.unfinished`,
the digest that of the options and the corpus: a run that was killed goes on from there with the same command. The loss
on held-out sentences stops the training and chooses the weights.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import safe_open

from pipeline import store
from pipeline.embeddings import fasttext_vectors, skipgram_corpus
from pipeline.embeddings.fasttext_train import Sentences
from pipeline.embeddings.fasttext_vectors import Model
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError, check_keys, log
from pipeline.store import EmbeddingTable

# By name, as sources are: trainer and embeddings stand on one floor, and only this source builds on it.
LAUNCH, RUN, TASK = "pipeline.training.launch", "pipeline.training.run", "pipeline.training.skipgram"
WHAT = "embedding source skipgram"
EVALUATIONS = 20  # in a run


class How(NamedTuple):
    """How a model is trained; `batch` is in words, of all processes together."""

    dims: int = 100
    epochs: int = 10
    window: int = 5
    min_count: int = 5
    negative: int = 5
    sample: float = 1e-3
    batch: int = 2048
    learning_rate: float = 0.01  # of 0.005, 0.01 and 0.02 the least loss on held-out sentences of the packaged corpus
    patience: int = 3
    seed: int = 0


LENGTH = 64  # words in a block
WHOLE = [name for name in How._fields if name not in ("sample", "learning_rate")]


def check(options: Mapping[str, Any]) -> How:
    """The options about training. Raises UserError for unknown options and for wrong values."""
    check_keys(WHAT, options, ("documents", "tokenizer", "benchmarks", "log", "licence", "processes", *How._fields))
    for name in ("documents", "tokenizer", "benchmarks", "log"):
        if not isinstance(options.get(name, ""), str):
            raise UserError(f"{WHAT}: option {name} must be a string, not {options[name]!r}")
    how = How(**{name: options[name] for name in How._fields if name in options})
    for name, value in [*((name, getattr(how, name)) for name in WHOLE), ("processes", options.get("processes", 1))]:
        least = 0 if name == "seed" else 1
        if type(value) is not int or value < least:
            raise UserError(f"{WHAT}: {name} {value!r} is not a whole number from {least} on")
    for name in ("sample", "learning_rate"):
        value = getattr(how, name)
        if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:
            raise UserError(f"{WHAT}: {name} {value!r} is not a number above 0")
    if how.batch % LENGTH:
        raise UserError(f"{WHAT}: batch {how.batch} is not a multiple of {LENGTH}, the words in a block")
    return how


def settings(how: How, blocks: int) -> dict[str, Any]:
    """The trainer's, for so many blocks an epoch."""
    batch = max(1, min(how.batch // LENGTH, blocks))
    steps = max(1, how.epochs * blocks // batch)
    every = max(1, steps // EVALUATIONS)
    return {
        **{"steps": steps, "batch": batch, "weights": {"positive": 1, "negative": 1}, "seed": how.seed},
        **{"learning_rate": how.learning_rate, "warmup_steps": min(50, steps // 10), "final_share": 0.01},
        **{"metric": "loss", "patience": how.patience, "log_every": max(1, every // 4)},
        **{"evaluate_every": every, "checkpoint_every": every},
    }


def read(vocabulary: Vocabulary | None, options: dict[str, Any], device: str = "cpu") -> EmbeddingTable:
    """Vectors of the vocabulary's words that the corpus has; for None, of all its words that occur often enough.

    Options: `documents` (data/corpus/documents), `tokenizer` (data/corpus/tokenizer.json), those of `How`, `processes`
    (1), `benchmarks` (a folder of evaluation sets that are monitored while it trains), `log` (a Parquet file for the
    log), `licence` (for the table's facts). Raises UserError for other options, wrong values, a corpus that is missing,
    damaged, or too small, and as the trainer does.
    """
    how, processes = check(options), options.get("processes", 1)
    documents = options.get("documents", "data/corpus/documents")
    tokenizer = options.get("tokenizer", "data/corpus/tokenizer.json")
    sentences = Sentences(documents, tokenizer, 2)
    digests = {"documents": store.digest(documents), "tokenizer": store.digest(tokenizer)}
    what = hashlib.sha256(json.dumps([how, digests], sort_keys=True).encode()).hexdigest()[:16]
    folder = Path(f"data/embeddings/.skipgram-{what}.unfinished")
    with store.locked(folder.with_suffix(".lock"), str(folder)):
        files = [folder / f"{name}.parquet" for name in ("train", "validation", "counts")]
        if not all(path.exists() for path in files):
            counted = skipgram_corpus.counts(sentences, how.min_count, WHAT)
            skipgram_corpus.write(sentences, counted, folder)
            if sentences.fault:
                shutil.rmtree(folder)
                raise sentences.fault
        found = _train(folder, how, options.get("benchmarks"), processes, device)
        words = store.read_parquet(folder / "counts.parquet")
        if target := options.get("log"):
            store.write_parquet(target, store.read_parquet(folder / "model.parquet"))
        shutil.rmtree(folder)
    vectors, result = found
    dims = vectors.shape[1]
    model = Model(words["word"].to_pylist(), vectors, np.empty((0, dims), np.float32), 1, 0)
    chosen = fasttext_vectors.find(model, vocabulary.words if vocabulary else None, False, WHAT)
    log.info("skipgram: %d words; %d have no vector; %s", len(chosen.words), chosen.missing, json.dumps(result))
    facts = {
        "source": "skipgram",
        "model": f"skip-gram with negative sampling, trained on {Path(documents).name}",
        "licence": str(options.get("licence", "as the corpus says")),
        "normalisation": "none: raw values of the source",
        "training": json.dumps({**how._asdict(), "processes": processes}),
        "result": json.dumps(result),
        "corpus_words": str(sum(words["count"].to_pylist())),
        "digests": json.dumps(digests),
        "versions": json.dumps(store.versions("torch", "numpy")),
    }
    return fasttext_vectors.table(chosen, vocabulary, WHAT, facts)


def _train(
    folder: Path, how: How, benchmarks: str | None, processes: int, device: str
) -> tuple[store.Array, dict[str, Any]]:
    """Run the trainer's processes, unless their outputs are there. Returns the vectors [n, d] and how the run ended."""
    sets = sorted(Path(benchmarks).rglob("*.parquet")) if benchmarks else []
    inputs = [folder / f"{name}.parquet" for name in ("counts", "train", "validation")]
    weights = folder / "model.safetensors"
    if not weights.exists():
        blocks = sum(import_module("pipeline.training.shards").Tokens([inputs[1]], LENGTH).sizes)
        if not blocks:
            raise UserError(f"{WHAT}: the corpus has no {LENGTH} words to train on")
        options = {"dims": how.dims, "window": how.window, "negative": how.negative, "sample": how.sample}
        import_module(LAUNCH).start(
            RUN,
            [
                *("--module", TASK, "--inputs", *map(str, [*inputs, *sets])),
                *("--options", json.dumps({**options, "length": LENGTH}), "--device", device),
                *("--settings", json.dumps(settings(how, blocks))),
                *("--folder", str(folder / "checkpoints"), "--output", str(folder / "model")),
            ],
            processes,
        )
    with safe_open(weights, framework="numpy") as file:
        return file.get_tensor("model.u"), json.loads(file.metadata()["checkpoint"])["result"]
