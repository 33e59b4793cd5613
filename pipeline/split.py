"""The one split of a table's rows: 70 % fit, 10 % validation, 20 % test, by seed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.stage import UserError


class Split(NamedTuple):
    """Sorted row numbers, int64; the three parts are disjoint and together are all rows."""

    fit: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def check_rows(rows: int, name: str) -> None:
    """Raises UserError, naming the table, where a part of the split would be empty (fewer than 10 rows)."""
    if rows < 10:
        raise UserError(f"{name}: {rows} vectors cannot be split into 70 % fit, 10 % validation and 20 % test")


def check_seeds(seeds: Sequence[int]) -> None:
    """Raises UserError where one stands twice, or is below 0."""
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(f"--seeds: {list(seeds)} holds one twice, or one below 0")


def split(rows: int, seed: int) -> Split:
    """Divide `rows` row numbers at random. Raises UserError where a part would be empty (fewer than 10 rows)."""
    check_rows(rows, "a table")
    order = np.random.default_rng(seed).permutation(rows)
    first, second = round(0.7 * rows), round(0.8 * rows)
    return Split(*(np.sort(part) for part in np.split(order, [first, second])))
