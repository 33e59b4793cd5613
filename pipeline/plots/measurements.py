"""The long table as its readers need it: scores by embedding, row and metric, their means, the best search rule.

Several tables are read as one: what each adds to an embedding's rows was measured on the same vectors, seeds and number
of queries, or it is refused; the tables' metadata say so (`read_facts`).
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from pipeline.stage import UserError
from pipeline.store import open_parquet, read_parquet

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("embedding", "representation", "family", "search")),
        ("seed", pa.int64()),
        ("metric", pa.string()),
        *((name, pa.float64()) for name in ("value", "ci_low", "ci_high")),
        *((name, pa.int64()) for name in ("covered", "total")),
    ]
)


class Score(NamedTuple):
    """A number, its 95 % interval (nan: none), and how many of how many items it rests on (None: no meaning)."""

    value: float
    low: float = math.nan
    high: float = math.nan
    covered: int | None = None
    total: int | None = None


class Row(NamedTuple):
    """What one row of the table is about, within an embedding."""

    representation: str
    family: str
    search: str


class Point(NamedTuple):
    """A representation in a plot: what it costs (bytes a vector, spikes a value), and its score under the search rule
    that suits it best."""

    row: Row
    cost: float
    score: Score


Metrics = Mapping[str, Mapping[int, Score]]
"""metric -> seed -> score"""

Benchmarks = Mapping[str, Mapping[Row, Metrics]]
"""embedding -> row -> its metrics, in the table's order"""

Measure = Callable[[Metrics], Score | None]


KEYS = ("embedding", "representation", "family", "search", "seed", "metric")
FACTS = ("embedding_digest", "seeds", "queries")
"""what has to be the same for two measurements of an embedding to be compared"""
MEASURED = "measured"  # the key of the metadata: JSON, embedding -> its FACTS
SPEED = "_per_s"  # how the names of those metrics end that no second run would give again


def read_long(path: Path) -> pa.Table:
    """The long form in a Parquet file, its columns in the order and of the types of SCHEMA, metadata and all.

    Raises UserError if it is missing, broken, its columns are not the table's, or a row does not say what it is of.
    """
    table = read_parquet(path, SCHEMA.names).select(SCHEMA.names)
    try:
        table = table.cast(SCHEMA.with_metadata(table.schema.metadata))
    except pa.ArrowException as error:
        raise UserError(f"{path}: its columns are not those of the long table ({error})") from None
    for name in KEYS:
        if table.column(name).null_count:
            row = table.column(name).is_null().index(True).as_py()
            raise UserError(f"{path}: row {row} has no {name}")
    return table


def read(path: Path) -> Benchmarks:
    """benchmarks.parquet. Raises UserError as `read_long`, and for what is measured twice."""
    table = read_long(path)
    found: dict[str, dict[Row, dict[str, dict[int, Score]]]] = {}
    for embedding, representation, family, search, seed, metric, *numbers in zip(
        *(column.to_pylist() for column in table.columns), strict=True
    ):
        of_seeds = (
            found.setdefault(embedding, {}).setdefault(Row(representation, family, search), {}).setdefault(metric, {})
        )
        if seed in of_seeds:
            what = f"{metric} of {embedding} {representation} {family} {search}, seed {seed}"
            raise UserError(f"{path}: measured twice: {what}")
        value, low, high = (math.nan if number is None else number for number in numbers[:3])
        of_seeds[seed] = Score(value, low, high, *numbers[3:])
    return found


def read_facts(path: Path) -> dict[str, dict[str, str]]:
    """embedding -> FACTS, as pipeline.evaluation.table writes them; of other tables nothing. Raises UserError."""
    metadata = open_parquet(path).schema_arrow.metadata or {}
    try:
        found = json.loads(metadata.get(MEASURED.encode(), b"{}"))
        return {embedding: {key: str(facts[key]) for key in FACTS} for embedding, facts in found.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: its metadata does not say what was measured ({error!r})") from None


def read_all(paths: Sequence[Path]) -> Benchmarks:
    """Several long tables as one, their rows in the order of the tables.

    Raises UserError, naming the tables, if two that measured an embedding did it on other vectors, seeds or numbers of
    queries, or do not say; and for a representation that stands in two with different results. Speeds may differ: a
    second run is never as fast as the first to the last digit, and the first table's are kept.
    """
    whole: dict[str, dict[Row, Metrics]] = {}
    of_table: dict[str, tuple[Path, dict[str, str]]] = {}  # an embedding's first table
    place: dict[tuple[str, str], Path] = {}  # a representation's
    for path in paths:
        table, facts = read(path), read_facts(path) if len(paths) > 1 else {}
        for embedding, rows in table.items():
            first, known = of_table.setdefault(embedding, (path, facts.get(embedding, {})))
            if first != path:
                _check_alike(embedding, (first, known), (path, facts.get(embedding, {})))
            kept = whole.setdefault(embedding, {})
            for representation in dict.fromkeys(row.representation for row in rows):
                own = {row: metrics for row, metrics in rows.items() if row.representation == representation}
                if (other := place.setdefault((embedding, representation), path)) == path:
                    kept.update(own)
                    continue
                there = {row: metrics for row, metrics in kept.items() if row.representation == representation}
                if different := _difference(there, own):
                    what = f"{representation} of {embedding} has another {different} than in {other}"
                    raise UserError(f"{path}: {what}; a representation is measured once")
    return whole


def _check_alike(embedding: str, first: tuple[Path, dict[str, str]], second: tuple[Path, dict[str, str]]) -> None:
    """Raises UserError, naming both tables, unless they say the same FACTS of the embedding."""
    for path, facts in (first, second):
        if not facts:
            raise UserError(f"{path}: does not say on which vectors and seeds {embedding} was measured: make it again")
    for key in FACTS:
        if first[1][key] != second[1][key]:
            values = f"{second[1][key]} here and {first[1][key]} in {first[0]}"
            raise UserError(f"{second[0]}: {embedding} was measured otherwise: {key} is {values}")


def _difference(a: Mapping[Row, Metrics], b: Mapping[Row, Metrics]) -> str | None:
    """The first metric or search rule that differs, speeds aside; None where nothing does."""
    if a.keys() != b.keys():
        return "set of search rules"
    for row, metrics in a.items():
        for name in sorted(metrics.keys() | b[row].keys()):
            # as text: nan is no nan's equal
            if not name.endswith(SPEED) and str(metrics.get(name)) != str(b[row].get(name)):
                return name
    return None


def average(scores: Iterable[Score]) -> Score | None:
    """The mean over the seeds that have a value, interval ends and all; None if no seed has one."""
    finite = [score for score in scores if math.isfinite(score.value)]
    if not finite:
        return None
    value, low, high = (sum(numbers) / len(finite) for numbers in list(zip(*finite, strict=True))[:3])
    return Score(value, low, high, finite[0].covered, finite[0].total)


def pool(parts: Iterable[Score]) -> Score | None:
    """One share of right answers from several, each weighted by its covered questions; None if nothing is covered.

    The parts' questions are drawn independently, so the distances to their interval ends add up as squares do.
    """
    counted = [(part.covered or 0, part) for part in parts if part.covered and math.isfinite(part.value)]
    if not counted:
        return None
    covered = sum(count for count, _ in counted)
    value = sum(count * part.value for count, part in counted) / covered
    below = math.hypot(*(count / covered * (part.value - part.low) for count, part in counted))
    above = math.hypot(*(count / covered * (part.high - part.value) for count, part in counted))
    return Score(value, value - below, value + above, covered, sum(part.total or 0 for _, part in counted))


def metric(name: str) -> Measure:
    """The measure that is this metric's mean over the seeds."""
    return lambda metrics: average(metrics.get(name, {}).values())


def pooled(*names: str) -> Measure:
    """The measure that pools these metrics within each seed, and then averages over the seeds."""

    def measure(metrics: Metrics) -> Score | None:
        seeds = sorted({seed for name in names for seed in metrics.get(name, {})})
        of_seeds = (pool(metrics[name][seed] for name in names if seed in metrics.get(name, {})) for seed in seeds)
        return average(score for score in of_seeds if score is not None)

    return measure


def best(rows: Mapping[Row, Metrics], measure: Measure) -> dict[str, tuple[Row, Score]]:
    """For each representation the score of one row: of its search rules the one of highest recall on validation rows.

    So the choice does not read what is drawn. Of equal rules, and of rules without that recall, the first is taken.
    """
    recall = metric("knn10_overlap_validation")
    chosen: dict[str, tuple[Row, Score]] = {}
    highest: dict[str, float] = {}
    for row, metrics in rows.items():
        score = measure(metrics)
        if score is None:
            continue
        checked = recall(metrics)
        value = checked.value if checked else -1.0
        if row.representation not in chosen or value > highest[row.representation]:
            chosen[row.representation], highest[row.representation] = (row, score), value
    return chosen


def on_codes(rows: Mapping[Row, Metrics]) -> dict[Row, Metrics]:
    """The rows that word tasks are read from: `decoded` where a representation has a decoder, else its other ones.

    The rule is fixed beforehand: the better of two on a set's own scores would favour codes that have two.
    """
    decoders = {row.representation for row in rows if row.search == "decoded"}
    return {
        row: metrics for row, metrics in rows.items() if row.search == "decoded" or row.representation not in decoders
    }


def points(rows: Mapping[Row, Metrics], measure: Measure, cost: str = "bytes_per_vector") -> list[Point]:
    """The representations that have both a score and a cost, each under its best search rule, by rising cost."""
    price = metric(cost)
    priced = ((row, price(rows[row]), score) for row, score in best(rows, measure).values())
    found = [Point(row, cost.value, score) for row, cost, score in priced if cost is not None and cost.value > 0]
    return sorted(found, key=lambda point: (point.cost, point.row))


def sizes(rows: Mapping[Row, Metrics]) -> str:
    """What an embedding's panel says of it: `13,681 vectors of 300 dimensions`; empty where the table does not say."""
    for metrics in rows.values():
        vectors, dims = (average(metrics.get(name, {}).values()) for name in ("vectors", "dims"))
        if vectors and dims:
            return f"{vectors.value:,.0f} vectors of {dims.value:,.0f} dimensions"
    return ""
