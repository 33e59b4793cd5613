"""Parquet as samples: vectors of embedding tables, and blocks of tokens. Shards are opened by their metadata and read a
row group at a time, so that data may be larger than memory.

A shard that has vanished, is damaged or was written anew since training began is a UserError that names it.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline import token_column
from pipeline.stage import UserError
from pipeline.store import first_null, open_parquet, unit_rows
from pipeline.training.task import Array


class Piece(NamedTuple):
    """One row group of a shard: rows `first` to `first + rows` of all the shards together."""

    path: Path
    group: int
    first: int
    rows: int
    stored_bytes: int


def pieces(paths: Iterable[str | Path], column: str) -> list[Piece]:
    """The row groups of shards, in order. Raises UserError for a shard that is missing, broken or lacks the column."""
    found: list[Piece] = []
    for path in map(Path, paths):
        metadata = open_parquet(path, [column]).metadata
        for group in range(metadata.num_row_groups):
            first = found[-1].first + found[-1].rows if found else 0
            row_group = metadata.row_group(group)
            found.append(Piece(path, group, first, row_group.num_rows, row_group.total_byte_size))
    return found


def read_group(piece: Piece, column: str) -> pa.Array:
    """One column of a piece. Raises UserError, naming the shard, if it is not what it was or cannot be read."""
    with open_parquet(piece.path, [column]) as file:
        groups = file.metadata.num_row_groups
        if piece.group >= groups or file.metadata.row_group(piece.group).num_rows != piece.rows:
            raise UserError(f"{piece.path}: has changed since training began")
        try:
            values = file.read_row_group(piece.group, columns=[column]).column(0).combine_chunks()
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{piece.path}: damaged Parquet file ({error})") from None
    if values.null_count:
        raise UserError(f"{piece.path}: row {first_null(values)} of row group {piece.group} is null")
    return values


def identity(what: dict[str, object], found: Sequence[Piece]) -> str:
    """Digest of how shards are read, and of their names, row groups and stored sizes (the values are not read)."""
    listed = [[piece.path.name, piece.group, piece.rows, piece.stored_bytes] for piece in found]
    return hashlib.sha256(json.dumps([what, listed], sort_keys=True).encode()).hexdigest()


def _leaf(piece: Piece) -> Any:
    """What Parquet's metadata say of the tokens of a row group."""
    group = open_parquet(piece.path).metadata.row_group(piece.group)
    leaves = [group.column(number) for number in range(group.num_columns)]
    return next(leaf for leaf in leaves if leaf.path_in_schema.split(".")[0] == "tokens")


def _doubtful(leaf: Any, vocabulary: int) -> bool:
    """Whether statistics, if there are any, tell of a token outside the vocabulary or of a null (or of an empty list,
    which stands there as one)."""
    if not leaf.is_stats_set:
        return False
    known = leaf.statistics
    outside = known.has_min_max and not 0 <= known.min <= known.max < vocabulary
    return bool(outside or (known.has_null_count and known.null_count))


def _tokens_in(piece: Piece, leaf: Any) -> int:
    """How many tokens a row group has: by its statistics if it has any, else counted."""
    if leaf.is_stats_set and leaf.statistics.has_null_count:
        return leaf.num_values - leaf.statistics.null_count  # an empty list stands there as a null
    return len(read_group(piece, "tokens").flatten())


class Vectors:
    """A sample is a row of column `vector`, fixed_size_list<float32>[d]; `dims` is d.

    Args:
        rows: row numbers over all shards, ascending, that are samples; without them all are.
        unit: divide each row by its Euclidean norm.
    """

    def __init__(self, paths: Sequence[str | Path], rows: Array | None = None, unit: bool = True) -> None:
        self.pieces, self.unit = pieces(paths, "vector"), unit
        kinds = {str(open_parquet(path).schema_arrow.field("vector").type): path for path in paths}
        for kind, path in kinds.items():
            if not kind.startswith("fixed_size_list<") or "float>" not in kind:
                raise UserError(f"{path}: column 'vector' is {kind}, not fixed_size_list<float32>")
        if len(kinds) > 1:
            raise UserError(f"{list(kinds.values())[1]}: its vectors are not as long as those of {paths[0]}")
        self.dims = open_parquet(paths[0]).schema_arrow.field("vector").type.list_size
        self.rows = np.arange(sum(piece.rows for piece in self.pieces)) if rows is None else np.asarray(rows)
        ends = np.searchsorted(self.rows, [piece.first + piece.rows for piece in self.pieces]).tolist()
        self._slices = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        self.sizes = [part.stop - part.start for part in self._slices]
        chosen = hashlib.sha256(self.rows.astype("<i8").tobytes()).hexdigest()
        self.identity = identity({"column": "vector", "unit": unit, "rows": chosen}, self.pieces)

    def read(self, piece: int) -> Array:
        """float32 [sizes[piece], d]."""
        here = self.pieces[piece]
        flat = read_group(here, "vector").flatten().to_numpy(zero_copy_only=False)
        vectors = flat.reshape(-1, self.dims)[self.rows[self._slices[piece]] - here.first]
        if len(bad := np.flatnonzero(~np.isfinite(vectors).all(axis=1))):
            row = int(self.rows[self._slices[piece]][bad[0]])
            raise UserError(f"{here.path}: row {row - here.first} of row group {here.group} holds NaN or infinity")
        return unit_rows(vectors) if self.unit else vectors


class Tokens:
    """A sample is `length` tokens that follow one another in column `tokens`, list<int32>.

    The documents of a row group are laid end to end (each is closed by the end-of-text token) and cut; what is left at
    the end of a row group is no sample. The blocks of a piece begin at the same places in every epoch.

    Raises UserError, naming file, row group and row, for nulls and, where a `vocabulary` is given, for tokens outside 0
    .. vocabulary - 1: at once where the shards' statistics tell of them, else when the row group is read.
    """

    def __init__(self, paths: Sequence[str | Path], length: int, vocabulary: int | None = None) -> None:
        self.pieces, self.length, self.vocabulary = pieces(paths, "tokens"), length, vocabulary
        for path in paths:
            token_column.check_type(path, open_parquet(path).schema_arrow.field("tokens").type)
        self.sizes = []
        for piece in self.pieces:
            leaf = _leaf(piece)
            if vocabulary is not None and _doubtful(leaf, vocabulary):
                self._column(piece)  # statistics do not tell which row
            self.sizes.append(_tokens_in(piece, leaf) // length)
        self.identity = identity({"column": "tokens", "length": length}, self.pieces)

    def _column(self, piece: Piece) -> pa.ListArray:
        return token_column.check(piece.path, read_group(piece, "tokens"), self.vocabulary, piece.group)

    def read(self, piece: int) -> Array:
        """int32 [sizes[piece], length]."""
        flat = self._column(self.pieces[piece]).flatten().to_numpy(zero_copy_only=False)
        blocks = len(flat) // self.length
        if blocks != self.sizes[piece]:
            raise UserError(f"{self.pieces[piece].path}: has changed since training began")
        return flat[: blocks * self.length].reshape(blocks, self.length)
