"""Skip-gram with negative sampling by the project's trainer, against gensim's Word2Vec (compiled), same sentences.

Both are given the same words, dimensions, window, negatives and subsampling, and one thread. Speed is in running words
a second, those that subsampling leaves out counted, medians of interleaved runs of two epochs without any evaluation.

Either is tuned before it is compared: of its learning rates in `RATES`, and of the same numbers of epochs, those are
taken that give the least loss on held-out sentences, which neither trains on. It is computed from the u and v of each
by the same code (pipeline/training/skipgram.py; gensim's v is its `syn1neg`), at a seed behind those that are reported,
and no reported set is read. Quality is that after all epochs: Spearman's correlation with human scores, over the pairs
of known words, and the share of analogies (3CosAdd), means over the seeds. The intervals, 95 %, are of pairs and
questions drawn again (the same ones for both), not of seeds.

Takes   a directory of document shards, tokenizer.json and a directory of evaluation sets (Parquet).
Makes   a CSV: what, size, unit, ours, peer, peer_value, ratio (above 1: ours is better), and <its name>_intervals.csv:
        what, unit, program (ours, the peer, or ours less the peer), items, seeds, value, ci_low, ci_high, and of a
        program what was chosen for it: epochs, learning_rate, held_out_loss.
"""

import csv
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from gensim.models import Word2Vec
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from performance.measurement import medians, row, write_rows
from pipeline import stage, store, word_analogy, word_similarity
from pipeline.embeddings import skipgram, skipgram_corpus
from pipeline.embeddings.fasttext_train import Sentences
from pipeline.evaluation.statistics import HIGH, LOW, multiplicities
from pipeline.stage import UserError
from pipeline.store import read_parquet, unit_rows
from pipeline.training import settings
from pipeline.training import skipgram as task
from pipeline.training.loop import train
from pipeline.training.task import Array, Task

RATES = {"ours": (0.005, 0.01, 0.02), "peer": (0.0125, 0.025, 0.05)}
EPOCHS = (10, 20)
INTERVALS = ("what", "unit", "program", "items", "seeds", "value", "ci_low", "ci_high")
INTERVALS += ("epochs", "learning_rate", "held_out_loss")

Trainer = Callable[[skipgram.How], task.SkipGram]


def make_task(files: Sequence[Path], how: skipgram.How) -> Task:
    options = {"dims": how.dims, "window": how.window, "negative": how.negative, "sample": how.sample}
    return task.task(files, {**options, "length": skipgram.LENGTH})


def ours(files: Sequence[Path], how: skipgram.How) -> task.SkipGram:
    """The model after all epochs."""
    torch.manual_seed(how.seed)
    made = make_task(files, how)
    chosen = skipgram.settings(how, sum(made.data.sizes))
    never = {"evaluate_every": chosen["steps"], "checkpoint_every": chosen["steps"], "metric": None, "patience": None}
    with tempfile.TemporaryDirectory() as folder:
        train(made.model, made.data, made.loss, settings.from_json({**chosen, **never}), folder)
    assert isinstance(made.model, task.SkipGram)
    return made.model


def peer(sentences: Sequence[Sequence[str]], words: Sequence[str], how: skipgram.How) -> task.SkipGram:
    """gensim's, its rows in the order of `words`."""
    found = Word2Vec(
        sentences,
        **{"vector_size": how.dims, "window": how.window, "min_count": how.min_count, "negative": how.negative},
        **{"sample": how.sample, "sg": 1, "epochs": how.epochs, "alpha": how.learning_rate},
        **{"seed": how.seed, "workers": 1},
    )
    rows = [found.wv.key_to_index[word] for word in words]
    model = task.SkipGram(len(words), how.dims)
    with torch.no_grad():
        model.u.copy_(torch.from_numpy(found.wv.vectors[rows]))
        model.v.copy_(torch.from_numpy(found.syn1neg[rows]))
    return model


def choose(
    trainer: Trainer, how: skipgram.How, rates: Sequence[float], epochs: Sequence[int], files: Sequence[Path]
) -> tuple[skipgram.How, float]:
    """`how` with the rate and the epochs of the least held-out loss, and that loss."""
    held_out = make_task(files, how).held_out
    assert held_out is not None
    found = []
    for rate, number in stage.progress(list(product(rates, epochs)), "skip-gram: rates and epochs"):
        candidate = how._replace(learning_rate=rate, epochs=number)
        model = trainer(candidate)
        with torch.no_grad():
            found.append((held_out(model)["loss"], candidate))
        stage.log.info("held-out loss %.4f: learning rate %g, %d epochs", found[-1][0], rate, number)
    loss, chosen = min(found)
    return chosen, loss


class Reported(NamedTuple):
    """A set. `values` of unit vectors [words, d] are a number for each of `items`; `statistic` is what is reported of
    such numbers [items] over the items that are numbered [n], each as often as it stands there."""

    unit: str
    items: int
    values: Callable[[Array], Array]
    statistic: Callable[[Array, Array], float]


def reported(table: pa.Table, words: Sequence[str]) -> Reported:
    rows = {word: number for number, word in enumerate(words)}
    if "score" in table.column_names:
        pairs = word_similarity.covered(table, rows)
        return Reported(
            "rank correlation",
            len(pairs.scores),
            lambda unit: np.einsum("nd,nd->n", unit[pairs.first], unit[pairs.second]),
            lambda values, drawn: float(spearmanr(values[drawn], pairs.scores[drawn])[0]),
        )
    questions = word_analogy.covered(table, rows)
    return Reported(
        "share of questions",
        len(questions.answers),
        lambda unit: word_analogy.add(unit[questions.asked] @ unit.T, questions),
        lambda values, drawn: float(values[drawn].mean()),
    )


def estimates(what: Reported, left: Sequence[Array], right: Sequence[Array]) -> Array:
    """Of the values [items] that each seed has on either side: left, right and left - right (rows), the value and its
    interval (columns)."""

    def means(drawn: Array) -> tuple[float, float, float]:
        a, b = (float(np.mean([what.statistic(values, drawn) for values in side])) for side in (left, right))
        return a, b, a - b

    every = np.arange(what.items)
    resampled = [means(np.repeat(every, times)) for times in multiplicities(what.items).astype(np.int64)]
    return np.column_stack([means(every), *np.nanpercentile(resampled, [LOW, HIGH], axis=0)])


def measure(
    documents: str, tokenizer: str, benchmarks: Path, epochs: Sequence[int], seeds: int, runs: int
) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """Rows of both tables."""
    every = list(Sentences(documents, tokenizer, 1))
    sentences = [one for number, one in enumerate(every) if not skipgram_corpus.validates(number)]
    how = skipgram.How(seed=seeds)
    name = f"gensim {metadata.version('gensim')} Word2Vec"
    with tempfile.TemporaryDirectory() as folder:
        counted = skipgram_corpus.counts(every, how.min_count, "skipgram")
        files, words = skipgram_corpus.write(every, counted, Path(folder)), list(counted)
        trainers: dict[str, Trainer] = {
            "ours": lambda how: ours(files, how),
            "peer": lambda how: peer(sentences, words, how),
        }
        running, short = sum(counted.values()), how._replace(epochs=2)
        size = f"{running} words x {how.dims} values"
        ours_s, peer_s = medians(runs, "skip-gram", *(lambda one=one: one(short) for one in trainers.values()))
        done = running * short.epochs
        rows = [row("skip-gram training", size, "words/s", done / ours_s, name, done / peer_s)]
        chosen = {side: choose(one, how, RATES[side], epochs, files) for side, one in trainers.items()}
        sets = {path.stem: reported(read_parquet(path), words) for path in sorted(benchmarks.rglob("*.parquet"))}
        values: dict[str, dict[str, list[Array]]] = {one: {side: [] for side in trainers} for one in sets}
        for seed, (side, trainer) in product(range(seeds), trainers.items()):
            unit = unit_rows(trainer(chosen[side][0]._replace(seed=seed)).u.detach().numpy())
            for one, what in sets.items():
                values[one][side].append(what.values(unit))
    intervals: list[dict[str, Any]] = []
    trained = f"{size}, {chosen['ours'][0].epochs} and {chosen['peer'][0].epochs} epochs"
    for one, what in sets.items():
        found = estimates(what, values[one]["ours"], values[one]["peer"])
        what_for = f"skip-gram, {one}"
        rows.append(row(what_for, trained, what.unit, found[0, 0], name, found[1, 0], digits=3))
        programs = {"ours": "ours", "peer": name, "": "ours less the peer"}
        for (side, program), estimate in zip(programs.items(), found, strict=True):
            line = (what_for, what.unit, program, what.items, seeds, *(f"{number:.4f}" for number in estimate))
            settled = (chosen[side][0].epochs, chosen[side][0].learning_rate, f"{chosen[side][1]:.4f}") if side else ()
            intervals.append(dict(zip(INTERVALS, line + settled, strict=False)))
    return rows, intervals


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--documents", required=True, help="directory of document shards")
    parser.add_argument("--tokenizer", required=True, help="tokenizer.json")
    parser.add_argument("--benchmarks", type=Path, required=True, help="directory of evaluation sets")
    parser.add_argument("--epochs", type=int, nargs="+", default=EPOCHS, help="either may choose among them")
    parser.add_argument("--seeds", type=int, default=3, help="models of each whose scores are averaged")
    parser.add_argument("--runs", type=int, default=5, help="runs of each, at least five for a median worth its name")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write; the intervals stand beside it")
    args = parser.parse_args(argv)
    if min(args.runs, *args.epochs, args.seeds) < 1:
        raise UserError("--runs, --epochs and --seeds must be at least 1")
    torch.set_num_threads(1)
    logging.getLogger("gensim").setLevel(logging.WARNING)
    with threadpool_limits(1):
        rows, intervals = measure(args.documents, args.tokenizer, args.benchmarks, args.epochs, args.seeds, args.runs)
        beside = args.output.with_name(f"{args.output.stem}_intervals.csv")
        with store.atomic_file(beside) as path, open(path, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, INTERVALS)
            table.writeheader()
            table.writerows(intervals)
        write_rows(args.output, rows)


if __name__ == "__main__":
    sys.exit(stage.run(main))
