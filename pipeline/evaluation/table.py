"""Join all measurements: `benchmarks.parquet`, the long form, and `benchmarks.csv`, a row a representation and search.

    python -m pipeline.evaluation.table --metrics results/metrics/*/*.parquet --output results/benchmarks

Makes <output>.parquet (one row a measurement and seed, with its 95 % interval and its data set's coverage) and
<output>.csv (a cell is the mean over the seeds; an empty cell means not applicable). The columns are a contract: more
may be added, none is renamed.
"""

import csv
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import stage
from pipeline.evaluation.columns import AFTER_TASKS, BEFORE_TASKS, COUNTS, KEYS, TASKS
from pipeline.plots.measurements import FACTS, MEASURED, read_long
from pipeline.stage import UserError
from pipeline.store import atomic_file, digest, with_ending, write_parquet


def columns(metrics: Iterable[str]) -> list[str]:
    """The table's columns for the metrics there are: the contract's first, a user's own sets before the speeds."""
    known = (*BEFORE_TASKS, *TASKS, *AFTER_TASKS)
    own = sorted(set(metrics) - set(known))
    return [*KEYS, *BEFORE_TASKS, *TASKS, *own, *AFTER_TASKS, "seeds"]


def cell(metric: str, values: Sequence[float]) -> str:
    """The mean over the seeds with six significant digits; empty where there is no number."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    mean = float(np.mean(finite))
    return str(round(mean)) if metric in COUNTS else f"{mean:.6g}"


def wide(long: pa.Table) -> tuple[list[str], list[dict[str, str]]]:
    """Column names, and one row for each embedding x representation x search in the order of first appearance."""
    groups: dict[tuple[str, ...], dict[str, dict[int, float]]] = {}
    for one in long.to_pylist():
        key = tuple(one[name] for name in KEYS)
        of_seed = groups.setdefault(key, {}).setdefault(one["metric"], {})
        if one["seed"] in of_seed:
            raise UserError(f"measured twice: {one['metric']} of {' '.join(key)}, seed {one['seed']}")
        of_seed[one["seed"]] = math.nan if one["value"] is None else one["value"]
    rows = []
    for key, metrics in groups.items():
        row = dict(zip(KEYS, key, strict=True))
        row |= {metric: cell(metric, list(values.values())) for metric, values in metrics.items()}
        rows.append(row | {"seeds": str(len(next(iter(metrics.values()))))})
    return columns(long.column("metric").unique().to_pylist()), rows


def write_csv(target: Path, names: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write rows atomically, as CSV with a header; missing cells are empty."""
    with atomic_file(target) as path, open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def facts_of(parts: Iterable[tuple[Path, pa.Table]]) -> dict[str, dict[str, str]]:
    """embedding -> on which vectors, seeds and number of queries it was measured, of the files of all modules.

    Raises UserError, naming two files, where they differ: a mean over them would be of nothing.
    """
    found: dict[str, tuple[Path, dict[str, str]]] = {}
    for path, table in parts:
        metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        own = {key: metadata[key] for key in FACTS if key in metadata}
        for embedding in table.column("embedding").unique().to_pylist():
            first, facts = found.setdefault(embedding, (path, own))
            for key in FACTS:
                if own.get(key) != facts.get(key):
                    values = f"{own.get(key)} here and {facts.get(key)} in {first}"
                    raise UserError(f"{path}: {embedding} was measured otherwise: {key} is {values}")
    return {embedding: facts for embedding, (_, facts) in found.items() if len(facts) == len(FACTS)}


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--metrics", nargs="+", type=Path, required=True, help="files of pipeline.evaluation.measure")
    parser.add_argument("--output", type=Path, required=True, help="path without .csv and .parquet")
    args = parser.parse_args(argv)
    parts = [(path, read_long(path)) for path in args.metrics]
    long = pa.concat_tables([table.replace_schema_metadata() for _, table in parts])
    if not len(long):
        raise UserError(f"{', '.join(map(str, args.metrics))}: no measurement in any of them")
    names, rows = wide(long)
    facts = {
        "metrics_digests": json.dumps({str(path): digest(path) for path in args.metrics}),
        MEASURED: json.dumps(facts_of(parts)),
    }
    write_parquet(with_ending(args.output, ".parquet"), long, facts)
    write_csv(with_ending(args.output, ".csv"), names, rows)
    stage.log.info("%d rows of %d columns in %s.csv", len(rows), len(names), args.output)


if __name__ == "__main__":
    sys.exit(stage.run(main))
