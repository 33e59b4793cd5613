"""Stage: what trained PopSpike networks and their controls do on test data, as rows of results/snn.csv.

Takes   an embedding table, the folder of its word sequences, and models of next_word and store_recall of any variant
        and seed, each known by its header.
Makes   Parquet rows (measurements.py): tasks `next_word`, `store_recall_<distractors>` and `energy` (of next_word).

Next word: `queries` places, evenly over the test documents' chunks of 256 words, each at least 16 words into its chunk;
the same for all networks and baselines. All words of the table are in an index of faiss; `search` says in which, and
`bytes_per_vector` what a word takes in it:

    decoded      continuous: the words' vectors, by their cosine with the predicted one (IndexFlatIP, 4 d bytes)
    hamming      binary: their sign bits and its (`sign_centered`, pipeline/codecs/binary.py; IndexBinaryFlat, d / 8)
    spikes       spike codes: their spike counts, by the cosine with those of the output neurons (IndexFlatIP, 4 d P)
    spike_bits   spike codes: counts in unary, T bits a neuron (of T = 1 the spikes), by Hamming distance, which is the
                 l1 distance of counts (IndexBinaryFlat, d P T / 8)
    ...+prior    a s + log p(w), s that similarity (of n bits: 1 - 2 h / n), p the words' share of the training text,
                 one added to each count; a of PRIOR_WEIGHTS by the mean reciprocal rank on validation (4 bytes more)

Words of the same similarity stand in random order, the same for all. Metrics: `recall_at_1`, `recall_at_10`,
`mean_reciprocal_rank` of the word that is next. Baselines: `unigram` ranks by p; `ridge` predicts the vector from the
last k words' vectors, the k of RIDGE_WORDS that is best on validation (`decoded`), strength by generalised
cross-validation.

Store-recall: each sequence begins with store_recall.BEFORE distractors; `longest_trained` is the most that the network
has seen behind a word, so that what lies beyond is known as such.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from pipeline import exhaustive, stage, store
from pipeline.codec import Array
from pipeline.codecs import binary, ridge
from pipeline.snn import energy, measurements, next_word, operations, store_recall, word_sequences
from pipeline.snn.popspike import Options, PopSpike, codes_of, network, scales, unit_counts
from pipeline.snn.word_codes import WordCodes
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable
from pipeline.training import trained

CHUNK, CONTEXT = 256, 16
QUERIES = 2000
TOP = 10  # words that an index is asked for
DISTRACTORS = (0, 1, 2, 4, 8, 16, 32)
RECALLED = 1000  # sequences for each number of distractors
PRIOR_WEIGHTS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
RIDGE_WORDS = (1, 2, 4, 8)
RIDGE_ROWS = 60000
TASKS: dict[str, Callable[[Mapping[str, Any]], next_word.Asked | store_recall.Asked]] = {
    "pipeline.snn.next_word": next_word.asked,
    "pipeline.snn.store_recall": store_recall.asked,
}


class Model(NamedTuple):
    """A trained network with what its file says."""

    module: str
    options: Options
    seed: int
    codes: WordCodes
    network: nn.Module
    seconds: float
    longest: int | None  # distractors it was trained with


class Places(NamedTuple):
    """Chunks of documents int32 [c, 256], and places in them: `row` and `column` [q], of which the `next` [q] word is
    asked for."""

    chunks: Array
    row: Array
    column: Array
    next: Array


def places(sequences: Sequence[Array], queries: int, silence: int, path: Path) -> Places:
    """At most `queries` places, evenly over all that there are. Raises UserError, naming the file, if there is none."""
    cut = [words[start : start + CHUNK] for words in sequences for start in range(0, len(words), CHUNK)]
    chunks = np.full((len(cut), CHUNK), silence, np.int32)
    for row, words in enumerate(cut):
        chunks[row, : len(words)] = words
    every = [np.arange(CONTEXT - 1, len(words) - 1) for words in cut]
    rows = np.repeat(np.arange(len(cut)), [len(columns) for columns in every])
    if not len(rows):
        raise UserError(f"{path}: no document has more than {CONTEXT} known words: nothing to predict")
    columns = np.concatenate(every)
    some = np.unique(np.linspace(0, len(rows) - 1, min(queries, len(rows))).astype(int))
    row, column = rows[some], columns[some]
    return Places(chunks, row, column, chunks[row, column + 1])


def context(where: Places, count: int) -> Array:
    """The last `count` words at each place, int32 [q, count], the last one first."""
    return np.stack([where.chunks[where.row, where.column - back] for back in range(count)], axis=1)


@torch.no_grad()
def predicted(model: nn.Module, where: Places, block: int = 16) -> dict[str, Array]:
    """`decoded` float32 [q, d], unit rows, and, of a spiking network, `spikes` [q, d P], counts."""
    device = scales(model).device
    found: dict[str, list[Array]] = {"decoded": [], "spikes": []}
    for start in range(0, len(where.chunks), block):
        here = (where.row >= start) & (where.row < start + block)
        answer = model(torch.from_numpy(where.chunks[start : start + block]).to(device))
        at = torch.from_numpy(where.row[here] - start), torch.from_numpy(where.column[here])
        for name, values in (("decoded", answer.vectors), ("spikes", answer.counts)):
            if values is not None:
                found[name].append(values[at].cpu().numpy())
    whole = {name: np.concatenate(parts) for name, parts in found.items() if parts}
    return whole | {"decoded": store.unit_rows(whole["decoded"])}


class Side(NamedTuple):
    """Queries and words of one search, float32 rows: unit rows whose inner product is the similarity, or `bits` as
    signs, of which it is the inner product over their number n, 1 - 2 h / n of Hamming distance h."""

    queries: Array
    words: Array
    bits: bool = False

    @property
    def nbytes(self) -> int:
        """Of a word in the index."""
        return -(-self.words.shape[1] // 8) if self.bits else 4 * self.words.shape[1]


def of_bits(queries: Array, words: Array) -> Side:
    """The search of bits bool [..., n] with bits."""
    signs = [np.where(x, np.float32(1), np.float32(-1)) for x in (queries, words)]
    return Side(signs[0], signs[1], bits=True)


def unary(counts: Array, steps: int) -> Array:
    """Counts [n, N] of 0 .. T as bool [n, N T]: as many of a neuron's T bits are set."""
    return (counts[:, :, None] > np.arange(steps)).reshape(len(counts), -1)


def sides(queries: Mapping[str, Array], codes: WordCodes) -> dict[str, Side]:
    """The searches of predictions."""
    vectors = codes.vectors[:-1]
    threshold = binary.build("sign_centered", 0).fit(vectors).shared["threshold"]
    found = {
        "decoded": Side(queries["decoded"], vectors),
        "hamming": of_bits(queries["decoded"] > threshold, vectors > threshold),
    }
    if "spikes" in queries:
        spikes, steps = codes.spikes[:-1], codes.spikes.shape[1]
        counts = unit_counts(spikes).numpy()
        found["spikes"] = Side(store.unit_rows(queries["spikes"]), counts)
        found["spike_bits"] = of_bits(unary(queries["spikes"], steps), unary(spikes.sum(1, dtype=np.int64), steps))
    return found


def shuffled(words: int) -> Array:
    """The order that rows are searched in: ties fall as it does, and not by how frequent a word is."""
    return np.random.default_rng(0).permutation(words)


def ranks(found: Array, order: Array, right: Array) -> Array:
    """The rank, from 1, of the right word [q] in rows of a search [q, n] over words in this order."""
    return np.argmax(order[found] == right[:, None], axis=1) + 1


def nearest(side: Side, count: int) -> Array:
    """The first words [q, count] of faiss's search."""
    order = shuffled(len(side.words))
    if side.bits:
        packed = [np.packbits(x > 0, axis=1) for x in (side.words[order], side.queries)]
        return order[exhaustive.hamming(packed[0])(packed[1], count)]
    return order[exhaustive.inner_product(side.words[order])(side.queries, count)]


def by_similarity(side: Side, right: Array) -> Array:
    """Ranks [q] without prior: among the first TOP words faiss's, behind them by how many are nearer."""
    first = nearest(side, min(TOP, len(side.words))) == right[:, None]
    behind = by_prior(side, np.zeros(len(side.words)), (1.0,), right)[0]
    return np.where(first.any(axis=1), first.argmax(axis=1) + 1, np.maximum(behind, first.shape[1] + 1))


def by_prior(side: Side, log_prior: Array, weights: Sequence[float], right: Array, block: int = 256) -> Array:
    """Ranks [weights, q] of weight x similarity + log p; of equal scores the later row of `shuffled` comes first, of
    bits the earlier one, as faiss has it."""
    place = np.argsort(shuffled(len(side.words)))
    prior = log_prior.astype(np.float32)
    found = []
    for start in range(0, len(right), block):
        own = right[start : start + block, None]
        similarity = side.queries[start : start + block] @ side.words.T
        if side.bits:
            similarity /= side.words.shape[1]  # behind the sum, which is whole numbers: ties stay ties
        before = place < place[own] if side.bits else place > place[own]
        here = []
        for weight in weights:
            scores = np.float32(weight) * similarity + prior
            mine = np.take_along_axis(scores, own, axis=1)
            here.append(1 + ((scores > mine) | ((scores == mine) & before)).sum(axis=1))
        found.append(here)
    return np.concatenate(found, axis=1)


def metrics(found: Array) -> dict[str, float]:
    """Of ranks [q]."""
    return {
        "recall_at_1": float((found <= 1).mean()),
        "recall_at_10": float((found <= 10).mean()),
        "mean_reciprocal_rank": float((1 / found).mean()),
    }


def searched(
    validation: Mapping[str, Side], test: Mapping[str, Side], right: tuple[Array, Array], log_prior: Array
) -> dict[str, dict[str, float]]:
    """Metrics on test places by search; `right`: the next words of validation and test places."""
    found = {}
    for name, side in test.items():
        found[name] = metrics(by_similarity(side, right[1]))
        scores = (1 / by_prior(validation[name], log_prior, PRIOR_WEIGHTS, right[0])).mean(axis=1)
        best = PRIOR_WEIGHTS[int(np.argmax(scores))]
        found[f"{name}+prior"] = metrics(by_prior(side, log_prior, (best,), right[1])[0])
    return found


def ridge_predictions(fitted: Places, validation: Places, test: Places, codes: WordCodes) -> tuple[Array, Array, int]:
    """Unit predictions [q, d] of validation and test places, and the k that validation chose."""
    vectors = codes.vectors

    def features(where: Places, count: int) -> Array:
        x = vectors[context(where, count)].reshape(len(where.next), -1)
        return np.column_stack([x, np.ones(len(x), np.float32)])

    best: tuple[float, Array, Array, int] | None = None
    for count in RIDGE_WORDS:
        weights = ridge.solve(features(fitted, count), vectors[fitted.next])
        sides_of = [
            store.unit_rows((features(where, count) @ weights).astype(np.float32)) for where in (validation, test)
        ]
        side = Side(sides_of[0], vectors[:-1])
        score = float((1 / by_similarity(side, validation.next)).mean())
        if best is None or score > best[0]:
            best = (score, sides_of[0], sides_of[1], count)
    assert best is not None
    return best[1:]


def read_model(path: Path, embedding: Path, table: EmbeddingTable, words: Path | None, device: str = "cpu") -> Model:
    """`table` is the one of the file `embedding`; without `words`, a network of next_word may be trained on any.

    Raises UserError as `trained.read`, naming the file, and for another one's weights or training data.
    """
    found = trained.read(path, TASKS)
    asked = found.built(TASKS[found.module])
    options, longest = asked.options, asked.longest if isinstance(asked, store_recall.Asked) else None
    recall = longest is not None
    codes = found.built(lambda _: store_recall.codes(table, options) if recall else codes_of(table, options))
    model = network(codes, options, store_recall.CUES if recall else 0)
    found.load(model)
    if isinstance(asked, store_recall.Asked):
        found.check_data(store_recall.samples(asked.longest, table)[0].identity, embedding)
    elif words is not None:
        data = words / "train.parquet"
        found.check_data(next_word.Sequences(data, asked.length, codes).identity, data, embedding)
    return Model(found.module, options, found.seed, codes, model.to(device), found.seconds, longest)


def recall_rows(model: Model) -> Iterator[tuple[str, str, float]]:
    """Task, metric and value for each number of distractors, on sequences that no training drew."""
    for count in DISTRACTORS:
        generator = np.random.default_rng([1, count])
        if model.longest is not None and count > model.longest:
            stage.log.info(
                "%d distractors: %s was trained with at most %d", count, model.options.variant, model.longest
            )
        drawn = store_recall.sequences(np.full(RECALLED, count), store_recall.BEFORE + count + 2, generator)
        yield f"store_recall_{count}", "accuracy", store_recall.accuracy(model.network, drawn, model.codes.vectors)
    assert model.longest is not None
    yield "store_recall", "longest_trained", model.longest


def next_word_rows(
    models: Sequence[Model], words: Path, table: EmbeddingTable, queries: int
) -> Iterator[tuple[Model | None, str, str, str, float, int]]:
    """(model or None of a baseline, variant, search, metric, value, bytes a word). Baselines read the first model's
    vectors. Raises UserError where models have different ones."""
    count = len(table.words)
    paths = [words / f"{part}.parquet" for part in word_sequences.PARTS]
    sequences = [word_sequences.read(path, count) for path in paths]
    fitted, validation, test = (
        places(one, most, count, path)
        for one, most, path in zip(sequences, (RIDGE_ROWS, queries, queries), paths, strict=True)
    )
    right = validation.next, test.next
    seen = np.bincount(np.concatenate(sequences[0]), minlength=count) + 1
    log_prior = np.log(seen / seen.sum()).astype(np.float32)
    codes = models[0].codes
    for model in models:
        if model.options.size.dims != codes.vectors.shape[1]:
            raise UserError(
                "--models: networks of next_word that predict vectors of different lengths are not compared"
            )

    def rows(model: Model | None, variant: str, found: Sequence[Mapping[str, Side]]) -> Iterator[Any]:
        for search, values in searched(found[0], found[1], right, log_prior).items():
            own = found[1][search.removesuffix("+prior")].nbytes + (4 if search.endswith("+prior") else 0)
            yield from ((model, variant, search, metric, value, own) for metric, value in values.items())

    order = shuffled(count)
    by_count = np.argsort(-log_prior[order], kind="stable")
    for metric, value in metrics(ranks(np.tile(by_count, (len(test.next), 1)), order, test.next)).items():
        yield None, "unigram", "", metric, value, 4
    *predictions, words_read = ridge_predictions(fitted, validation, test, codes)
    stage.log.info("ridge: the last %d words, by validation", words_read)
    yield from rows(None, "ridge", [sides({"decoded": found}, codes) for found in predictions])
    for model in models:
        found = [sides(predicted(model.network, where), model.codes) for where in (validation, test)]
        yield from rows(model, model.options.variant, found)


@torch.no_grad()
def costs(model: Model, words: Path, count: int) -> list[dict[str, Any]]:
    """Rows of the task `energy`: what a word costs, over validation chunks or store-recall sequences."""
    if model.module.endswith("store_recall"):
        drawn = store_recall.sequences(np.full(32, 8), 10, np.random.default_rng(2))
        given: tuple[torch.Tensor, ...] = (torch.from_numpy(drawn[:, :-1]), store_recall.cues(torch.from_numpy(drawn)))
    else:
        path = words / "validation.parquet"
        where = places(word_sequences.read(path, count), QUERIES, count, path)
        given = (torch.from_numpy(where.chunks[:32]),)
    given = tuple(x.to(scales(model.network).device) for x in given)
    with operations.counted(model.network) as layers:
        model.network(*given)
    spiking = isinstance(model.network, PopSpike)
    keys = {"variant": model.options.variant, "size": model.options.model, "seed": model.seed}
    own = {"parameters": operations.parameters(model.network), "train_seconds": model.seconds}
    steps = model.options.timesteps if spiking else None
    return energy.rows(layers, given[0].numel(), steps, network="popspike", **keys, **own)


def rows(models: Sequence[Model], words: Path, table: EmbeddingTable, queries: int) -> list[dict[str, Any]]:
    """All rows, of networks in the order given."""
    found: list[dict[str, Any]] = []
    energies = [costs(model, words, len(table.words)) for model in models]
    cost = [{name: one[0][name] for name in measurements.COSTS if name in one[0]} for one in energies]
    for model, columns in zip(models, cost, strict=True):
        if model.module.endswith("store_recall"):
            own = {"variant": model.options.variant, "size": model.options.model, "seed": model.seed, **columns}
            found += [
                {**own, "task": task, "metric": metric, "value": value} for task, metric, value in recall_rows(model)
            ]
    if readers := [model for model in models if model.module.endswith("next_word")]:
        found += [
            row
            for model, one in zip(models, energies, strict=True)
            if model.module.endswith("next_word")
            for row in one
        ]
        columns_of = {id(model): columns for model, columns in zip(models, cost, strict=True)}
        for reader, variant, search, metric, value, nbytes in next_word_rows(readers, words, table, queries):
            own = {"variant": variant, "size": readers[0].options.model, "seed": -1, "bytes_per_vector": nbytes}
            if reader is not None:
                own |= {"size": reader.options.model, "seed": reader.seed, **columns_of[id(reader)]}
            found.append({**own, "task": "next_word", "search": search, "metric": metric, "value": value})
    return [{**row, "network": "popspike"} for row in found]


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--embedding", type=Path, required=True, help="embedding table")
    parser.add_argument("--words", type=Path, required=True, help="folder that word_sequences made of it")
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="trained networks")
    parser.add_argument("--queries", type=int, default=QUERIES, help="places of next_word, at most")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    arguments = parser.parse_args(argv)
    if arguments.queries < 1:
        raise UserError(f"--queries must be at least 1, not {arguments.queries}")
    table = store.read_embedding(arguments.embedding)
    device = stage.device(arguments.device)
    models = [read_model(path, arguments.embedding, table, arguments.words, device) for path in arguments.models]
    found = rows(models, arguments.words, table, arguments.queries)
    store.write_parquet(arguments.output, measurements.table(found))


if __name__ == "__main__":
    sys.exit(stage.run(main))
