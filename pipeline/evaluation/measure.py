"""Measure the codecs of one module on one embedding table: a row a measurement, seed and search rule.

    python -m pipeline.evaluation.measure --embedding data/embeddings/minilm.parquet \\
        --codecs results/codecs/minilm/binary --benchmarks data/benchmarks --seeds 0 1 2 --queries 1000 \\
        --output results/metrics/minilm/binary.parquet

Makes a Parquet file with the columns embedding, representation, family, search, seed, metric, value, ci_low, ci_high,
covered, total. The metrics' definitions are in docs/design.md; each is computed by the file that bears its name.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from pipeline import exhaustive, stage, word_analogy, word_similarity
from pipeline.codec import (
    Array,
    Codec,
    Codes,
    Comparable,
    Quantizing,
    Ranged,
    Search,
    Searchable,
    Spiking,
    Uniform,
    input_of,
)
from pipeline.evaluation import fidelity, ledger, retrieval, speed
from pipeline.evaluation.statistics import NOTHING, Estimate, mean, ratio, spearman
from pipeline.evaluation.word_rows import word_rows
from pipeline.manifest import read_manifest
from pipeline.plots.measurements import SCHEMA
from pipeline.split import Split, check_rows, check_seeds, split
from pipeline.stage import UserError
from pipeline.store import (
    EmbeddingTable,
    array_digest,
    digest,
    read_embedding,
    read_parquet,
    unit_rows,
    versions,
    write_parquet,
)

SPEED_QUERIES = 32


@dataclass(frozen=True)
class Measurement:
    """One number: an estimate, and on how many of the data set's items it rests (None where that has no meaning)."""

    metric: str
    estimate: Estimate
    covered: int | None = None
    total: int | None = None


def plain(metric: str, value: float) -> Measurement:
    """A number that is counted or timed, not estimated from items."""
    return Measurement(metric, Estimate(float(value), NOTHING.low, NOTHING.high))


@dataclass(frozen=True)
class Truth:
    """What a seed's codecs are held against: the split, the queries and their true neighbours."""

    split: Split
    queries: Array  # positions among the test rows
    near_all: Array  # [q, 10], rows of the table
    near_unseen: Array  # [q, 10], positions among the test rows
    validation_rows: Array  # rows of the table: the queries by which choices are made
    near_validation: Array  # [v, 10], rows of the table

    @property
    def query_rows(self) -> Array:
        return self.split.test[self.queries]


@dataclass(frozen=True)
class WordTasks:
    """The benchmark sets as far as the table covers them."""

    pairs: Mapping[str, word_similarity.Pairs]
    questions: word_analogy.Questions

    def rows(self) -> Array:
        """All rows that some task uses, sorted."""
        used = [part for pairs in self.pairs.values() for part in (pairs.first, pairs.second)]
        return np.unique(np.concatenate([*used, self.questions.asked, self.questions.answers]))


Compare = Callable[[Array, Array | None], Array]
"""(rows a, rows b; None for all) -> similarity of the codes of those rows, float32 [a, b]."""


def find_truth(unit: Array, seed: int, queries: int) -> Truth:
    """The seed's split, up to `queries` of its test rows and a fifth as many validation rows, and their ten nearest
    neighbours by cosine."""
    parts = split(len(unit), seed)
    picked = retrieval.pick_queries(parts.test, queries, seed)
    rows = parts.test[picked]
    checked = parts.validation[retrieval.pick_queries(parts.validation, max(1, queries // 5), seed)]
    among_all = exhaustive.inner_product(unit)
    return Truth(
        parts,
        picked,
        retrieval.neighbours(among_all, unit[rows], rows),
        retrieval.neighbours(exhaustive.inner_product(unit[parts.test]), unit[rows], picked),
        checked,
        retrieval.neighbours(among_all, unit[checked], checked),
    )


def read_tasks(benchmarks: Path, table: EmbeddingTable, name: str) -> WordTasks:
    """The covered part of every set. One that is too little covered for a number leaves its cells empty: a warning.

    The sets' words are lower-case: see `word_rows`.
    """
    rows = word_rows(table)
    pairs = {
        path.stem: word_similarity.covered(read_parquet(path, ["word1", "word2", "score"]), rows)
        for path in sorted((benchmarks / "similarity").glob("*.parquet"))
    }
    questions = word_analogy.covered(read_parquet(benchmarks / "analogy.parquet", ["kind", *"abcd"]), rows)
    for task, found in pairs.items():
        if len(found.scores) < 2:
            few, all_ = len(found.scores), found.total
            stage.log.warning("%s: %d of %d pairs of %s are covered; its cells stay empty", name, few, all_, task)
    if not len(questions.answers):
        all_ = sum(questions.totals)
        stage.log.warning("%s: 0 of %d analogy questions are covered; their cells stay empty", name, all_)
    return WordTasks(pairs, questions)


def word_measurements(compare: Compare, tasks: WordTasks) -> Iterator[Measurement]:
    """Similarity and analogy, from nothing but the similarities of codes with codes."""
    for name, pairs in tasks.pairs.items():
        words, positions = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
        estimate = NOTHING
        if len(words):
            first, second = np.split(positions, 2)
            estimate = spearman(compare(words, words)[first, second], pairs.scores)
        yield Measurement(name, estimate, len(pairs.scores), pairs.total)
    questions = tasks.questions
    right = {}
    if len(questions.answers):
        similarities = compare(questions.asked, None)
        right = {
            "": word_analogy.add(similarities, questions),
            "_3cosmul": word_analogy.multiply(similarities, questions),
        }
    for kind, chosen, total in zip(
        ("semantic", "syntactic"), (questions.semantic, ~questions.semantic), questions.totals, strict=True
    ):
        for method in ("", "_3cosmul"):
            estimate = mean(right[method][chosen]) if chosen.any() else NOTHING
            yield Measurement(f"analogy_{kind}{method}", estimate, int(chosen.sum()), total)


def fidelity_measurements(
    x: Array, decoded: Array, decoded_unit: Array, unit: Array, truth: Truth, seed: int
) -> Iterator[Measurement]:
    """Errors of decoded test rows. `x`: what the codec was given; `decoded`: its answer; both whole tables [n, d]."""
    test, mu = truth.split.test, x[truth.split.fit].mean(axis=0, dtype=np.float64)
    original, found = x[test], decoded[test]
    yield Measurement("relative_mse", ratio(*fidelity.squared_errors(original, found, mu)), len(test))
    checked = truth.split.validation
    errors = fidelity.squared_errors(x[checked], decoded[checked], mu)
    yield Measurement("relative_mse_validation", ratio(*errors), len(checked))
    yield Measurement("cosine", mean(fidelity.centered_cosines(original, found, mu)), len(test))
    yield Measurement("exact_values", mean(fidelity.exact_shares(original, found)), len(test))
    rows = truth.query_rows
    same = fidelity.identified(decoded_unit[rows], rows, exhaustive.inner_product(unit))
    yield Measurement("identity_top1", mean(same), len(rows))
    errors = fidelity.distance_errors(original, found, seed)
    yield Measurement("distance_mape", ratio(*errors), len(test))


def spike_measurements(codec: Codec, x: Array, codes: Codes, decoded: Array) -> Iterator[Measurement]:
    """What spikes cost, and whether integers come back from them: of test rows x, decoded [n, d], and their codes."""
    if isinstance(codec, Spiking):
        yield plain("spikes_per_value", codec.spike_train(codes).spikes_per_value(x.shape[1]))
        yield plain("timesteps", codec.timesteps)
    if isinstance(codec, Quantizing):
        yield plain("exact_codes", np.mean(codec.integers(x) == codec.stored_integers(codes)))
    if not isinstance(codec, Ranged):
        return
    beyond = codec.outside(x)
    if isinstance(codec, Uniform):
        steps = np.divide(np.abs(x - decoded), codec.step, out=np.zeros_like(x), where=codec.step > 0)
        yield plain("largest_error_steps", steps[~beyond].max(initial=0))
    yield plain("clipped_values", beyond.mean())


def search_measurements(
    whole: Search, unseen: Search, unit: Array, truth: Truth, timed: Search | None
) -> Iterator[Measurement]:
    """The recalls of one search rule, and the speed of `timed`. `unit`: all float rows, the queries among them."""
    queries = unit[truth.query_rows]
    found = retrieval.neighbours(whole, queries, truth.query_rows)
    yield Measurement("knn10_overlap", mean(retrieval.overlaps(found, truth.near_all)), len(queries))
    found = retrieval.neighbours(unseen, queries, truth.queries)
    yield Measurement("knn10_overlap_unseen", mean(retrieval.overlaps(found, truth.near_unseen)), len(queries))
    rows = truth.validation_rows
    found = retrieval.neighbours(whole, unit[rows], rows)
    yield Measurement("knn10_overlap_validation", mean(retrieval.overlaps(found, truth.near_validation)), len(rows))
    if timed is None:
        return
    few = queries[:SPEED_QUERIES]
    yield plain("queries_per_s", speed.timed(lambda: timed(few, retrieval.K), len(few))[1])


def measure_codec(
    codec: Codec,
    table: EmbeddingTable,
    unit: Array,
    truth: Truth,
    tasks: WordTasks,
    seed: int,
    words: dict[str, list[Measurement]],
) -> Iterator[tuple[str, Measurement]]:
    """All measurements of one fitted codec, each with the search rule whose row it belongs to.

    Cost and fidelity do not depend on the rule: they stand in every row of the representation. `words` holds the word
    tasks' measurements that are known already, by rule, and is added to: they see no split, so a codec that learns
    nothing has the same ones for every seed.
    """

    def word_tasks(rule: str, compare: Compare) -> list[Measurement]:
        if rule not in words:
            words[rule] = list(word_measurements(compare, tasks))
        return words[rule]

    x = input_of(codec, table.vectors, unit)
    codec.encode(x[:1])  # what is loaded on first use is not the codec's speed
    codes, encode_rate = speed.timed(lambda: codec.encode(x), len(x))
    test = truth.split.test
    fitted = np.isin(tasks.rows(), truth.split.fit).mean() if codec.learns and len(tasks.rows()) else 0.0
    common = [
        plain("vectors", len(x)),
        plain("dims", x.shape[1]),
        plain("fitted_share", fitted),
        *(plain(metric, value) for metric, value in ledger.cost(codec, codes, x.shape[1])._asdict().items()),
        plain("encode_vectors_per_s", encode_rate),
    ]
    rules: dict[str, list[Measurement]] = {}
    decoded = None
    if codec.decodes:
        decoded, decode_rate = speed.timed(lambda: codec.decode(codes), len(x))
        common.append(plain("decode_vectors_per_s", decode_rate))
        decoded_unit = unit_rows(decoded)
        common += fidelity_measurements(x, decoded, decoded_unit, unit, truth, seed)
        if isinstance(codec, Spiking | Quantizing | Ranged):  # of others no row can be taken by itself, perhaps
            common += spike_measurements(codec, x[test], codes.take(test), decoded[test])
        whole, unseen = (exhaustive.inner_product(part) for part in (decoded_unit, decoded_unit[test]))
        rules["decoded"] = [
            *search_measurements(whole, unseen, unit, truth, whole),
            *word_tasks("decoded", _by_inner_product(decoded_unit)),
        ]
    if isinstance(codec, Searchable):
        for rule in codec.searches:
            rules[rule] = list(_rule_measurements(codec, rule, codes, unit, truth, decoded))
    if isinstance(codec, Comparable):
        for rule in codec.compares:
            rules[rule] += word_tasks(rule, _by_codes(codec, rule, codes))
    for rule, own in rules.items():
        for measurement in [*common, *own]:
            yield rule, measurement


def _rule_measurements(
    codec: Searchable, rule: str, codes: Codes, unit: Array, truth: Truth, decoded: Array | None
) -> Iterator[Measurement]:
    whole = codec.searcher(rule, codes)
    # A peer's ranks may be found by our search; its speed may not.
    timed = None if getattr(codec, "search_is_ours", False) else whole
    if decoded is not None and (shortcut := _shortcut(codec, rule)):
        base = unit_rows(decoded) if shortcut is exhaustive.inner_product else decoded
        whole, unseen = shortcut(base), shortcut(base[truth.split.test])
    else:
        unseen = codec.searcher(rule, codes.take(truth.split.test))
    yield from search_measurements(whole, unseen, unit, truth, timed)


def _shortcut(codec: Searchable, rule: str) -> Callable[[Array], Search] | None:
    """A search of decoded rows that ranks as the codec's own does, only sooner. The speed that is reported is its own.

    faiss 1.15 scans scalar codes value by value where d % 16 is not 0, thirty times as long; our asymmetric search
    decodes all rows in every call.
    """
    if rule == "native" and getattr(codec, "native_is_euclidean", False):
        return exhaustive.euclidean
    if rule == "asymmetric" and getattr(codec, "asymmetric_is_cosine", False):
        return exhaustive.inner_product
    return None


def _by_inner_product(unit: Array) -> Compare:
    return lambda a, b: unit[a] @ (unit if b is None else unit[b]).T


def _by_codes(codec: Comparable, rule: str, codes: Codes) -> Compare:
    return lambda a, b: codec.similarity(rule, codes.take(a), codes if b is None else codes.take(b))


def measure_module(
    table: EmbeddingTable, embedding: str, codecs: Path, benchmarks: Path, seeds: Sequence[int], queries: int
) -> pa.Table:
    """Every measurement of every representation of a module's directory, for every seed, as a long table."""
    unit = unit_rows(table.vectors)
    tasks = read_tasks(benchmarks, table, embedding)
    manifest, vectors_digest = read_manifest(codecs), array_digest(table.vectors)
    if not manifest.files:
        stage.log.warning("%s: %s has no representation that the table can have: nothing to measure", embedding, codecs)
    with threadpool_limits(1):
        truths = {seed: find_truth(unit, seed, queries) for seed in seeds}
    rows = []
    known: dict[str, dict[str, list[Measurement]]] = {name: {} for name in manifest.files}
    jobs = [(name, seed) for name in manifest.files for seed in seeds]
    for name, seed in stage.progress(jobs, f"measure {embedding} {codecs.name}", unit="codec"):
        codec = manifest.codec(name, seed, vectors_digest)
        words = {} if codec.learns else known[name]
        # One thread: speeds are defined on one, and sums come out the same however many cores there are. Anew for each,
        # because a library that a codec has just loaded is not limited yet.
        with threadpool_limits(1):
            found = list(measure_codec(codec, table, unit, truths[seed], tasks, seed, words))
        for rule, one in found:
            rows.append(
                {
                    **{"embedding": embedding, "representation": name, "family": codec.family, "search": rule},
                    **{"seed": seed, "metric": one.metric, "value": one.estimate.value},
                    **{"ci_low": one.estimate.low, "ci_high": one.estimate.high},
                    **{"covered": one.covered, "total": one.total},
                }
            )
    return pa.Table.from_pylist(rows, SCHEMA)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--embedding", type=Path, required=True, help="embedding table; its file name is its name")
    parser.add_argument("--codecs", type=Path, required=True, help="a directory that pipeline.codecs.fit made")
    parser.add_argument("--benchmarks", type=Path, required=True, help="what pipeline.evaluation.sets made")
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--queries", type=int, default=1000, help="test rows that search, at most")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to make")
    args = parser.parse_args(argv)
    faiss.omp_set_num_threads(1)
    check_seeds(args.seeds)
    if args.queries < 1:
        raise UserError(f"--queries: at least 1 is needed, not {args.queries}")
    table = read_embedding(args.embedding)
    check_rows(len(table.words), str(args.embedding))
    long = measure_module(table, args.embedding.stem, args.codecs, args.benchmarks, args.seeds, args.queries)
    facts = {
        "embedding_digest": array_digest(table.vectors),
        "codecs_digest": digest(args.codecs),
        "benchmarks_digest": digest(args.benchmarks),
        "seeds": json.dumps(args.seeds),
        "queries": str(args.queries),
        "versions": json.dumps(versions("numpy", "faiss-cpu", "faiss-gpu")),
    }
    write_parquet(args.output, long, facts)


if __name__ == "__main__":
    sys.exit(stage.run(main))
