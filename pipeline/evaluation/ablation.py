"""What each part of training is worth: every variant of the plan beside the shipped one, paired by seed.

    python -m pipeline.evaluation.ablation --metrics shipped=a.parquet untrained=b.parquet alone=c.parquet \\
        --output results/ablation.csv --prefixes results/prefixes.csv

Takes files of pipeline.evaluation.measure, each with the name of its variant before it (`ablation_variants` says what
each changes). Makes two CSV files; a cell is the mean over the seeds, an empty one means not applicable.

ablation.csv: a row for each embedding x variant x representation x search. Beside each metric stand `_difference`,
variant minus shipped, and `_difference_t_low` and `_t_high`, Student's 95 % interval of that difference's mean: seeds
give both the same split and queries, so their differences are taken seed by seed (`statistics.paired`; with three
seeds t is 4.3, and with one there is no interval). `compared_with` is the shipped representation on the other side:
the same one, or of a `_float` or `_ternary` form the int8 one; of a shipped int8 code there is none.
`analogy` is 3CosAdd over all covered questions, semantic and syntactic.

prefixes.csv: the prefix of the code that is trained for all sizes beside the code that is trained for that size alone;
differences are prefix minus alone. `_signs` are left out: each size has a rotation of its own, so none is a prefix.
`shared_bytes_all_` is what one of each size in this table shares together: of prefixes as much as the longest, of codes
of their own the sum.
"""

import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import stage
from pipeline.codecs import matryoshka
from pipeline.evaluation.ablation_variants import ALONE, CHANGES, SHIPPED, bits_of, int8_form
from pipeline.evaluation.compression import cell
from pipeline.evaluation.statistics import paired
from pipeline.evaluation.table import facts_of, write_csv
from pipeline.plots.measurements import Metrics, pool, read, read_long
from pipeline.stage import UserError

SEARCHES = ("decoded", "hamming")
METRICS: Mapping[str, tuple[str, ...]] = {  # column -> what it pools
    **{name: (name,) for name in ("knn10_overlap", "knn10_overlap_unseen", "relative_mse", "wordsim353", "simlex999")},
    "analogy": ("analogy_semantic", "analogy_syntactic"),
    "shared_bytes": ("shared_bytes",),
}
OF_PREFIXES = ("knn10_overlap", "knn10_overlap_unseen", "relative_mse", "shared_bytes")

KEYS = ("embedding", "variant", "representation", "search")
COLUMNS = (
    *(*KEYS, "compared_with"),
    *(f"{name}{part}" for name in METRICS for part in ("", "_difference", "_difference_t_low", "_difference_t_high")),
    "seeds",
)
PREFIX_COLUMNS = (
    *("embedding", "bits", "representation", "search", "beside"),
    *(
        f"{name}{part}"
        for name in OF_PREFIXES
        for part in ("_prefix", "_alone", "_difference", "_difference_t_low", "_difference_t_high")
    ),
    *("shared_bytes_all_prefix", "shared_bytes_all_alone", "seeds"),
)


class Place(NamedTuple):
    """What is measured, of an embedding and variant."""

    representation: str
    search: str


Measured = Mapping[tuple[str, str], Mapping[Place, Metrics]]
"""(embedding, variant) -> place -> its metrics"""


def read_variants(files: Sequence[tuple[str, Path]]) -> Measured:
    """The files of all variants. Raises UserError, naming file or variant, for what cannot be compared:

    a variant that there is not, one that is missing on an embedding that others have, what is measured twice, and files
    that measured an embedding's other vectors, seeds or numbers of queries.
    """
    found: dict[tuple[str, str], dict[Place, Metrics]] = {}
    for variant, path in files:
        if variant not in CHANGES:
            raise UserError(f"{path}: there is no variant {variant!r}; there are {', '.join(CHANGES)}")
        for embedding, rows in read(path).items():
            places = found.setdefault((embedding, variant), {})
            for row, metrics in rows.items():
                place = Place(row.representation, row.search)
                if place in places:
                    raise UserError(f"{path}: measured twice: {embedding}, {variant}, {' '.join(place)}")
                if row.search in SEARCHES:
                    places[place] = metrics
    variants = dict.fromkeys([SHIPPED, *(variant for variant, _ in files)])
    for embedding in dict.fromkeys(embedding for embedding, _ in found):
        for variant in variants:
            if not found.get((embedding, variant)):
                raise UserError(f"{embedding}: the variant {variant!r} is not measured")
    facts_of((path, read_long(path)) for _, path in files)
    return {
        key: {place: places[place] for place in sorted(places, key=_by_kind_and_bits)} for key, places in found.items()
    }


def _by_kind_and_bits(place: Place) -> tuple[str, int, int]:
    return _kind(place), bits_of(place.representation), SEARCHES.index(place.search)


def by_seed(metrics: Metrics, column: str) -> dict[int, float]:
    """The values of one of METRICS, where there are any."""
    names = METRICS[column]
    if len(names) == 1:
        return {seed: score.value for seed, score in metrics.get(names[0], {}).items() if math.isfinite(score.value)}
    seeds = sorted({seed for name in names for seed in metrics.get(name, {})})
    scores = ((seed, pool(metrics[name][seed] for name in names if seed in metrics.get(name, {}))) for seed in seeds)
    return {seed: score.value for seed, score in scores if score is not None}


def mean(values: Mapping[int, float]) -> str:
    return cell(sum(values.values()) / len(values)) if values else ""


def differences(values: Mapping[int, float], others: Mapping[int, float], column: str) -> dict[str, str]:
    """The cells of `values` minus `others`, by the seeds that both have."""
    estimate = paired([values[seed] - others[seed] for seed in sorted(values.keys() & others.keys())])
    parts = ("_difference", "_difference_t_low", "_difference_t_high")
    return {f"{column}{part}": cell(round(number, 12)) for part, number in zip(parts, estimate, strict=True)}


def rows_of(measured: Measured) -> Iterator[dict[str, Any]]:
    """ablation.csv. Raises UserError, naming it, for what has no shipped counterpart."""
    for (embedding, variant), places in measured.items():
        for place, metrics in places.items():
            other = place._replace(representation=int8_form(place.representation))
            counterpart = (
                None if variant == SHIPPED and other == place else _shipped(measured, embedding, variant, other)
            )
            row = {**dict(zip(KEYS, (embedding, variant, *place), strict=True)), "seeds": _seeds(metrics)}
            if counterpart is not None:
                row["compared_with"] = other.representation
            for column in METRICS:
                values = by_seed(metrics, column)
                row[column] = mean(values)
                if counterpart is not None:
                    row |= differences(values, by_seed(counterpart, column), column)
            yield row


def _shipped(measured: Measured, embedding: str, variant: str, place: Place) -> Metrics:
    try:
        return measured[embedding, SHIPPED][place]
    except KeyError:
        what = f"{embedding}: {variant} has {' '.join(place)}"
        raise UserError(f"{what}, and {SHIPPED} has not: there is nothing to compare it with") from None


def _seeds(metrics: Metrics) -> int:
    return max(map(len, metrics.values()))


def prefixes_of(measured: Measured) -> Iterator[dict[str, Any]]:
    """prefixes.csv: nothing, where no size is trained alone. Raises UserError as `rows_of`."""
    for (embedding, variant), places in measured.items():
        for place, metrics in places.items() if variant in ALONE else ():
            if isinstance(matryoshka.build(place.representation, 0), matryoshka.MatryoshkaSigns):
                continue
            prefix, prefixes = _shipped(measured, embedding, variant, place), measured[embedding, SHIPPED]
            row = {
                **{"embedding": embedding, "bits": bits_of(place.representation), **place._asdict()},
                **{"beside": variant, "seeds": _seeds(metrics)},
            }
            for column in OF_PREFIXES:
                values, others = by_seed(prefix, column), by_seed(metrics, column)
                row |= {f"{column}_prefix": mean(values), f"{column}_alone": mean(others)}
                row |= differences(values, others, column)
            kind = [one for one in places if one.search == place.search and _kind(one) == _kind(place)]
            shared = {
                side: [_shared(of[one]) for one in kind] for side, of in (("prefix", prefixes), ("alone", places))
            }
            yield row | {
                "shared_bytes_all_prefix": cell(max(shared["prefix"])),
                "shared_bytes_all_alone": cell(sum(shared["alone"])),
            }


def _shared(metrics: Metrics) -> float:
    """Mean bytes over the seeds."""
    values = by_seed(metrics, "shared_bytes")
    return sum(values.values()) / len(values)


def _kind(place: Place) -> str:
    """The representation without its bits."""
    return re.sub("_[0-9]+", "", place.representation, count=1)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--metrics", nargs="+", required=True, metavar="VARIANT=FILE", help="one or more a variant")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to make")
    parser.add_argument("--prefixes", type=Path, required=True, help="CSV file to make")
    args = parser.parse_args(argv)
    if wrong := [one for one in args.metrics if "=" not in one]:
        raise UserError(f"--metrics: {wrong[0]!r} is not VARIANT=FILE")
    files = [(variant, Path(path)) for variant, _, path in (one.partition("=") for one in args.metrics)]
    measured = read_variants(files)
    rows, prefixes = list(rows_of(measured)), list(prefixes_of(measured))
    if not rows:
        raise UserError(f"--metrics: no measurement under {', '.join(SEARCHES)} in any of the files")
    write_csv(args.output, COLUMNS, rows)
    write_csv(args.prefixes, PREFIX_COLUMNS, prefixes)
    stage.log.info("%d rows in %s, %d in %s", len(rows), args.output, len(prefixes), args.prefixes)


if __name__ == "__main__":
    sys.exit(stage.run(main))
