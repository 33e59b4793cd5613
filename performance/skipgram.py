"""Skip-gram with negative sampling by the project's trainer, against gensim's Word2Vec (compiled), same sentences.

Both are given the same words, dimensions, window, negatives, subsampling and epochs, and one thread. Speed is in
running words a second, those that subsampling leaves out counted, medians of interleaved runs of two epochs without any
evaluation. Quality is after all epochs, at the last step of either, a mean over seeds: Spearman's correlation with
human scores, over the pairs of known words, and the share of analogies (3CosAdd, at most 1,000 questions). The losses
differ by what a batch shares, so they are not compared.

Takes   a directory of document shards, tokenizer.json and a directory of evaluation sets (Parquet).
Makes   a CSV: what, size, unit, ours, peer, peer_value, ratio (above 1: ours is better).
"""

import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import torch
from gensim.models import Word2Vec
from threadpoolctl import threadpool_limits
from torch.nn.functional import normalize

from performance.measurement import medians, row, write_rows
from pipeline import stage
from pipeline.embeddings import skipgram, skipgram_corpus
from pipeline.embeddings.fasttext_train import Sentences
from pipeline.stage import UserError
from pipeline.store import read_parquet
from pipeline.training import settings
from pipeline.training import skipgram as task
from pipeline.training.loop import train

Monitor = Callable[[torch.Tensor], float]


def ours(files: Sequence[Path], how: skipgram.How) -> torch.Tensor:
    """Vectors [n, d] after all epochs."""
    torch.manual_seed(how.seed)
    options = {"dims": how.dims, "window": how.window, "negative": how.negative, "sample": how.sample}
    made = task.task(files, {**options, "length": skipgram.LENGTH})
    chosen = skipgram.settings(how, sum(made.data.sizes))
    never = {"evaluate_every": chosen["steps"], "checkpoint_every": chosen["steps"], "metric": None, "patience": None}
    with tempfile.TemporaryDirectory() as folder:
        train(made.model, made.data, made.loss, settings.from_json({**chosen, **never}), folder)
    return made.model.u.detach()


def peer(sentences: Sequence[Sequence[str]], how: skipgram.How) -> tuple[list[str], torch.Tensor]:
    """Words and vectors [n, d] of gensim's."""
    model = Word2Vec(
        sentences,
        **{"vector_size": how.dims, "window": how.window, "min_count": how.min_count, "negative": how.negative},
        **{"sample": how.sample, "sg": 1, "epochs": how.epochs, "seed": how.seed, "workers": 1},
    )
    return model.wv.index_to_key, torch.from_numpy(model.wv.vectors)


def monitors(words: Sequence[str], sets: Mapping[str, Mapping[str, list]]) -> dict[str, Monitor]:
    rows = {word: number for number, word in enumerate(words)}
    return {
        name: task.spearman(rows, table) if "score" in table else task.analogy(rows, table)
        for name, table in sets.items()
    }


def measure(documents: str, tokenizer: str, benchmarks: Path, epochs: int, seeds: int, runs: int) -> list[dict]:
    """Rows of the table."""
    every = list(Sentences(documents, tokenizer, 1))
    sentences = [one for number, one in enumerate(every) if not skipgram_corpus.validates(number)]
    sets = {path.stem: read_parquet(path).to_pydict() for path in sorted(benchmarks.rglob("*.parquet"))}
    how = skipgram.How(epochs=epochs)
    name = f"gensim {metadata.version('gensim')} Word2Vec"
    with tempfile.TemporaryDirectory() as folder:
        counted = skipgram_corpus.counts(every, how.min_count, "skipgram")
        files = skipgram_corpus.write(every, counted, Path(folder))
        running, short = sum(counted.values()), how._replace(epochs=2)
        size = f"{running} words x {how.dims} values"
        ours_s, peer_s = medians(runs, "skip-gram", lambda: ours(files, short), lambda: peer(sentences, short))
        done = running * short.epochs
        found = [row("skip-gram training", size, "words/s", done / ours_s, name, done / peer_s)]
        scores: dict[str, list[list[float]]] = {one: [[], []] for one in sets}
        for seed in stage.progress(range(seeds), "skip-gram: seeds"):
            sides = (list(counted), ours(files, how._replace(seed=seed))), peer(sentences, how._replace(seed=seed))
            for side, (words, vectors) in enumerate(sides):
                for one, monitor in monitors(words, sets).items():
                    scores[one][side].append(monitor(normalize(vectors)))
    for one, (left, right) in scores.items():
        unit = "rank correlation" if "score" in sets[one] else "share of questions"
        values = statistics.mean(left), name, statistics.mean(right)
        found.append(row(f"skip-gram, {one}", f"{size}, {epochs} epochs", unit, *values, digits=3))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--documents", required=True, help="directory of document shards")
    parser.add_argument("--tokenizer", required=True, help="tokenizer.json")
    parser.add_argument("--benchmarks", type=Path, required=True, help="directory of evaluation sets")
    parser.add_argument("--epochs", type=int, default=skipgram.How().epochs, help="of either")
    parser.add_argument("--seeds", type=int, default=3, help="models of each whose scores are averaged")
    parser.add_argument("--runs", type=int, default=5, help="runs of each, at least five for a median worth its name")
    parser.add_argument("--output", required=True, help="CSV file to write")
    args = parser.parse_args(argv)
    if min(args.runs, args.epochs, args.seeds) < 1:
        raise UserError("--runs, --epochs and --seeds must be at least 1")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        rows = measure(args.documents, args.tokenizer, args.benchmarks, args.epochs, args.seeds, args.runs)
        write_rows(args.output, rows)


if __name__ == "__main__":
    sys.exit(stage.run(main))
