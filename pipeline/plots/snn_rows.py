"""Rows of results/snn.parquet as figures need them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from matplotlib.figure import Figure

from pipeline import stage
from pipeline.plots import style
from pipeline.stage import UserError
from pipeline.store import read_parquet

Row = Mapping[str, Any]
NEEDED = ("network", "variant", "size", "task", "metric", "search", "seed", "value", "spike_rate", "spikes_per_value")
FILLED = NEEDED[:-2]
NUMBERS = NEEDED[-3:]


def read(path: Path) -> list[Row]:
    """Raises UserError, naming the file, for one that lacks a column or has no numbers in it, and for a row without a
    key or value."""
    table = read_parquet(path, NEEDED)
    for name in NUMBERS:
        if not (pa.types.is_floating(kind := table.schema.field(name).type) or pa.types.is_null(kind)):
            raise UserError(f"{path}: column {name!r} is {kind}: expected float64")
    rows: list[Row] = table.to_pylist()
    if not rows:
        raise UserError(f"{path}: no measurement in it")
    for row in rows:
        if empty := [name for name in FILLED if row[name] is None]:
            raise UserError(f"{path}: a row without {empty[0]!r}")
    return rows


def draw(description: str | None, argv: Sequence[str] | None, figure: Callable[[list[Row]], Figure]) -> None:
    """The command line of a figure of results/snn.parquet: reads it, writes what `figure` makes of its rows.

    Raises UserError as `read` and `figure`.
    """
    parser = stage.parser(description)
    parser.add_argument("--measurements", type=Path, required=True, help="results/snn.parquet")
    parser.add_argument("--output", type=Path, required=True, help="figure to make, without suffix")
    arguments = parser.parse_args(argv)
    for path in style.write(figure(read(arguments.measurements)), arguments.output):
        stage.log.info("wrote %s", path)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)
