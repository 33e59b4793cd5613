"""Source `parquet`: a column of words and a column of vectors, in one Parquet file or in shards of one.

`path` is a file, a folder (its *.parquet) or a pattern; shards are read in the order of their names. A vector is a list
(plain, large or of fixed size) of float16, float32 or float64, as long in every row; float64 is rounded to float32.
Without a column of words the rows are named by their numbers over all shards, "0" to "n-1". Shards are streamed, and
only the wanted rows are kept. Which row is a word's, and how words that stand twice are found: `selection`. Messages
count rows from 0 in each file.
"""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import store
from pipeline.embeddings import file_source
from pipeline.embeddings.file_source import FileOptions
from pipeline.embeddings.selection import Block, select, usable
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError, progress
from pipeline.store import Array, EmbeddingTable

WHAT = "embedding source parquet"
BATCH_ROWS = 1024
VALUE_TYPES = (pa.float16(), pa.float32(), pa.float64())


def shards(path: str) -> list[str]:
    """The files that `path` names, in order. Raises UserError if there is none."""
    if Path(path).is_file():
        return [path]
    pattern = str(Path(glob.escape(path)) / "*.parquet") if Path(path).is_dir() else path
    found = sorted(glob.glob(pattern, recursive=True))
    if not found:
        raise UserError(f"{path}: no Parquet file there")
    return found


def blocks(files: Sequence[str], word: str | None, vector: str) -> Iterator[Block]:
    """The rows of all files, some at a time; with `word` None they are named by their numbers.

    Raises UserError, naming the file: for one that is missing, broken, or lacks a column, and, naming the row, behind
    those before it, for a word or vector that is missing, an empty word, unusable values, and another length.
    """
    columns = [vector] if word is None else [word, vector]
    dims = total = 0
    for path in progress(files, "parquet", unit=" files"):
        with store.open_parquet(path, columns) as file:
            _check_types(file.schema_arrow, path, word, vector)
            first = 0
            for batch in _batches(file, path, columns):
                names = _numbers(total, len(batch)) if word is None else batch.column(word).to_pylist()
                lists = batch.column(vector)
                lengths = pc.list_value_length(lists).to_pylist()
                dims = dims or next(filter(None, lengths), 0)
                good, fault = _first_fault(names, lists, lengths, dims)
                vectors = _values(lists.slice(0, good)).reshape(good, dims)
                yield from usable(Block(names[:good], vectors, path, range(first, first + good)))
                if fault:
                    raise UserError(f"{path}: row {first + good}{fault}")
                first, total = first + len(batch), total + len(batch)
    if not total:
        raise UserError(f"{files[0]}: no row in it")


def _numbers(first: int, count: int) -> list[str]:
    return list(map(str, range(first, first + count)))


def _check_types(schema: pa.Schema, path: str, word: str | None, vector: str) -> None:
    """Raises UserError, naming file and column, for a column that holds something else."""
    kind = schema.field(vector).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or kind.value_type not in VALUE_TYPES:
        raise UserError(f"{path}: column {vector!r} is {kind}, not a list of float16, float32 or float64")
    if word is not None and schema.field(word).type not in (pa.string(), pa.large_string(), pa.string_view()):
        raise UserError(f"{path}: column {word!r} is {schema.field(word).type}, not string")


def _batches(file: pq.ParquetFile, path: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Record batches of a file. Raises UserError, naming the file, for pages that do not decode, and bad UTF-8."""
    try:
        for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
            if len(batch):
                batch.validate(full=True)
                yield batch
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged Parquet file ({' '.join(str(error).split())})") from None


def _first_fault(
    words: Sequence[str | None], lists: pa.Array, lengths: Sequence[int | None], dims: int
) -> tuple[int, str]:
    """How many rows are well formed before the first that is not, and what is wrong with that one ("": nothing)."""
    has_null = lists.flatten().null_count > 0
    for row, (word, length) in enumerate(zip(words, lengths, strict=True)):
        if not word:
            return row, ": no word" if word is None else ": an empty word"
        if length is None:
            return row, f" ({word!r}): no vector"
        if length != dims or not length:
            return row, f" ({word!r}): {length} values, expected {dims or 'some'}"
        if has_null and lists[row].values.null_count:
            return row, f" ({word!r}): a value is missing"
    return len(words), ""


def _values(lists: pa.Array) -> Array:
    """All values of lists without nulls, float32 [n * d]."""
    with np.errstate(over="ignore", invalid="ignore"):  # infinity and NaN are named
        return lists.flatten().to_numpy().astype(np.float32, copy=False)


def check(options: dict[str, Any]) -> FileOptions:
    """The options that all files have. Raises UserError for unknown ones and for wrong values."""
    chosen = file_source.options(WHAT, options, ("word", "vector"))
    if not isinstance(options.get("word") or "", str):
        raise UserError(f"{WHAT}: option word must be a column's name or null, not {options['word']!r}")
    if not isinstance(options.get("vector", ""), str):
        raise UserError(f"{WHAT}: option vector must be a column's name, not {options['vector']!r}")
    return chosen


def read(vocabulary: Vocabulary | None, options: dict[str, Any], device: str = "cpu") -> EmbeddingTable:
    """Raw rows of the vocabulary's words, in its order; for None, all rows in the order of the shards.

    Options: `path` (required: a file, folder or pattern), `word` (column of words, "word"; null: rows are numbered),
    `vector` (column of vectors, "vector"), `duplicates` (`error`, or `first`: the first row of a word counts),
    `licence` (for the table's facts). No device. Raises UserError for other options, for a vocabulary where rows are
    numbered, and for every fault of the files, naming file and row.
    """
    chosen = check(options)
    word, vector = options.get("word", "word"), options.get("vector", "vector")
    if word is None:
        file_source.refuse_vocabulary(WHAT, vocabulary, "word")
    files = shards(chosen.path)
    wanted = None if vocabulary is None else vocabulary.words
    selected = select(lambda: blocks(files, word, vector), wanted, chosen.first_wins)
    return file_source.table("parquet", chosen, files, vocabulary, selected, "pyarrow")
