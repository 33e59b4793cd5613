"""Rows of results/snn.parquet as figures need them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.stage import UserError
from pipeline.store import read_parquet

Row = Mapping[str, Any]
NEEDED = ("network", "variant", "size", "task", "metric", "search", "seed", "value", "spike_rate", "spikes_per_value")


def read(path: Path) -> list[Row]:
    """Raises UserError, naming the file, for one that lacks a column."""
    rows: list[Row] = read_parquet(path, NEEDED).to_pylist()
    if not rows:
        raise UserError(f"{path}: no measurement in it")
    return rows


def mean(values: list[float]) -> float:
    return sum(values) / len(values)
