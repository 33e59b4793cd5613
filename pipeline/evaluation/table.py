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
from pipeline.evaluation.columns import AFTER_TASKS, BEFORE_TASKS, COLUMNS, COUNTS, KEYS, TASKS
from pipeline.stage import UserError
from pipeline.store import atomic_file, digest, read_parquet, write_parquet


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
        of_seed[one["seed"]] = one["value"]
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


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--metrics", nargs="+", type=Path, required=True, help="files of pipeline.evaluation.measure")
    parser.add_argument("--output", type=Path, required=True, help="path without .csv and .parquet")
    args = parser.parse_args(argv)
    long = pa.concat_tables([read_parquet(path, COLUMNS) for path in args.metrics])
    names, rows = wide(long)
    facts = {"metrics_digests": json.dumps({str(path): digest(path) for path in args.metrics})}
    write_parquet(args.output.with_suffix(".parquet"), long, facts)
    write_csv(args.output.with_suffix(".csv"), names, rows)
    stage.log.info("%d rows of %d columns in %s.csv", len(rows), len(names), args.output)


if __name__ == "__main__":
    sys.exit(stage.run(main))
