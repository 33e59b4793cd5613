"""Column `tokens`, list<int32>, of a Parquet file or of one of its row groups: the check that all of it is usable.

Readers of whole files and of single row groups ask it alike:

    column = token_column.check(path, store.read_parquet(path, ["tokens"])["tokens"].combine_chunks(), vocabulary)
    rows = token_column.rows(column)
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.stage import UserError
from pipeline.store import Array, first_null


def check_type(path: str | Path, kind: pa.DataType) -> None:
    """Raises UserError, naming the file, for a column of any other type than list<int32>."""
    if not pa.types.is_list(kind) or kind.value_type != pa.int32():
        raise UserError(f"{path}: column 'tokens' is {kind}, not list<int32>")


def check(
    path: str | Path, column: pa.ListArray, vocabulary: int | None = None, group: int | None = None
) -> pa.ListArray:
    """The column itself, n rows of any length. `group`: the row group whose rows these are, if not the whole file's.

    Raises UserError that names the file and the row: `check_type`'s; for the first row that is null, then the first
    that holds a null, then the first with a token outside 0 .. vocabulary - 1 (without a vocabulary any token will do).
    """
    check_type(path, column.type)
    where = "" if group is None else f" of row group {group}"
    if column.null_count:
        raise UserError(f"{path}: row {first_null(column)}{where} is null")
    flat = column.flatten()
    if flat.null_count:
        raise UserError(f"{path}: row {_row_of(column, first_null(flat))}{where} holds a null token")
    tokens = flat.to_numpy(zero_copy_only=False)
    if vocabulary is not None and tokens.size and not 0 <= tokens.min() <= tokens.max() < vocabulary:
        place = int(np.flatnonzero((tokens < 0) | (tokens >= vocabulary))[0])
        row = _row_of(column, place)
        raise UserError(f"{path}: row {row}{where} holds token {tokens[place]}, expected 0 to {vocabulary - 1}")
    return column


def rows(column: pa.ListArray) -> list[Array]:
    """The tokens of each row of a checked column, int32 [length]."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return [flat[start:end] for start, end in pairwise(_offsets(column).tolist())]


def _offsets(column: pa.ListArray) -> Array:
    """Where each row begins among the flattened tokens, and where the last one ends, int [n + 1]."""
    offsets: Array = column.offsets.to_numpy()
    return offsets - offsets[0]  # a slice's begin further on


def _row_of(column: pa.ListArray, place: int) -> int:
    """The row that a place among the flattened tokens belongs to; empty rows have none."""
    return int(np.searchsorted(_offsets(column), place, side="right")) - 1
