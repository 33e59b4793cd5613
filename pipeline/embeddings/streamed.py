"""Vectors that memory does not hold: files that are read from the first row on, as often as one likes."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pipeline.embeddings import npy, parquet
from pipeline.embeddings.selection import Block
from pipeline.stage import UserError
from pipeline.store import open_parquet


class Inputs(NamedTuple):
    """Paths as given, the files there, how many rows they have, and what reads them from the first row on."""

    paths: list[str]
    files: list[str]
    rows: int
    blocks: Callable[[], Iterator[Block]]


def opened(paths: Sequence[str]) -> Inputs:
    """Raises UserError, naming the file, for what is missing or holds no vectors."""
    if any(path.endswith(".npy") for path in paths):
        if len(paths) > 1:
            raise UserError("--inputs: give one .npy file, or Parquet files")
        return Inputs(list(paths), list(paths), len(npy.mapped(paths[0])), lambda: npy.blocks(paths[0], None))
    files = [file for path in paths for file in parquet.shards(path)]
    shards = [open_parquet(file, ["vector"]) for file in files]
    word = "word" if "word" in shards[0].schema_arrow.names else None
    rows = sum(shard.metadata.num_rows for shard in shards)
    return Inputs(list(paths), files, rows, lambda: parquet.blocks(files, word, "vector"))
