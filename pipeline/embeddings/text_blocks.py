"""Blocks of whole lines of a file of vectors, and a parser that takes a block at once or not at all.

The parser is Arrow's CSV reader, many times as fast as parsing line by line, and without Python's lock, so that blocks
can be parsed side by side. It knows one plain way to write a row: the word and d values, one space between them, maybe
one before the line's end. It gives the same bits as parsing line by line (the decimal number is rounded to float64, and
that to float32) or None: a block with anything else in it, right or wrong, is left to the parser of lines, which knows
all ways to write a row and says what is wrong in which line.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pipeline.store import Array

BLOCK_BYTES = 1 << 20  # with two under way beside the table, a few MB; a fifth slower at a quarter of it

OTHER_SPACE = (b"\t", b"\r", b"\v", b"\f")  # parts a row to the parser of lines, but belongs to a word for Arrow
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # Arrow drops one that opens a block, though it is part of the word


class Lines(NamedTuple):
    """Consecutive whole lines, and the number of the first of them in the file (from 1)."""

    first: int
    content: bytes


def count_lines(content: bytes) -> int:
    return content.count(b"\n") + (not content.endswith(b"\n") and content != b"")


def split(file: BinaryIO, first: int, head: bytes = b"", size: int = BLOCK_BYTES) -> Iterator[Lines]:
    """`head`, whole lines that are read already, and the rest of the file, in blocks of `size` bytes and a line's rest.

    `first` is the number of the first line of `head`, or of the file's rest if `head` is empty.
    """
    content = head
    while True:
        if part := file.read(size):
            content += part if part.endswith(b"\n") else part + file.readline()
        if not content:
            return
        yield Lines(first, content)
        first += count_lines(content)
        content = b""


def parse(content: bytes, dims: int) -> tuple[list[str], Array] | None:
    """The words and vectors (float32 [n, dims]) of n lines; None if any of them is not a usable row in the plain way.

    A usable row has a word that is UTF-8 and not empty, and exactly `dims` values, all finite in float32 and not all
    zero.
    """
    for before_end in (b"\r\n", b" \n"):
        if before_end in content:
            content = content.replace(before_end, b"\n")
    first_line = content[: content.find(b"\n")] if b"\n" in content else content
    if first_line.count(b" ") != dims or content.startswith(BYTE_ORDER_MARK) or any(s in content for s in OTHER_SPACE):
        return None
    parse_options, convert_options, names = _options(dims)
    whole = csv.ReadOptions(use_threads=False, block_size=len(content) + 1, column_names=names)
    try:
        table = csv.read_csv(pa.BufferReader(content), whole, parse_options, convert_options)
    except pa.ArrowInvalid:
        return None
    if len(table) != count_lines(content):  # it skips blank lines
        return None
    (batch,) = table.to_batches()
    words = batch.column(0).to_pylist()  # to_numpy would import pandas, which takes 60 MB
    with np.errstate(over="ignore"):  # beyond float32: infinite, which is checked next
        vectors = batch.select(names[1:]).to_tensor().to_numpy().astype(np.float32, order="C")
    if "" in words or not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
        return None
    return words, vectors


@lru_cache(maxsize=4)
def _options(dims: int) -> tuple[csv.ParseOptions, csv.ConvertOptions, list[str]]:
    """Arrow's options for rows of a word and `dims` values, and the columns' names."""
    names = [str(column) for column in range(dims + 1)]
    types = {names[0]: pa.string(), **dict.fromkeys(names[1:], pa.float64())}
    plain = csv.ParseOptions(delimiter=" ", quote_char=False)
    return plain, csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False), names
