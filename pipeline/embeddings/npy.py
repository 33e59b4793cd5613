"""Source `npy`: an array in NumPy's .npy format, [n, d] of float16, float32 or float64, and its words in a text file.

Row i is the vector of line i + 1 of the words. Without words the rows are named by their numbers, "0" to "n-1". The
array is mapped into memory, not loaded, and nothing in it can run code (no pickle). float64 is rounded to float32. Rows
are counted from 0, lines from 1. Which row is a word's, and how words that stand twice are found: `selection`.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.embeddings import file_source
from pipeline.embeddings.file_source import FileOptions
from pipeline.embeddings.selection import Block, select, usable
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError, progress
from pipeline.store import Array, EmbeddingTable

WHAT = "embedding source npy"
BLOCK_ROWS = 1024


def mapped(path: str) -> Array:
    """The array [n, d] of a file, mapped into memory. Raises UserError, naming the file, for any other content."""
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: not a whole .npy file ({error})") from None
    if not isinstance(vectors, np.ndarray):
        vectors.close()
        raise UserError(f"{path}: an archive of arrays (.npz); give one array as .npy")
    if vectors.dtype.kind != "f" or vectors.dtype.itemsize > 8:
        raise UserError(f"{path}: values of type {vectors.dtype}, not float16, float32 or float64")
    if vectors.ndim != 2 or not vectors.size:
        raise UserError(f"{path}: an array of shape {vectors.shape}, not rows x dimensions")
    return vectors


def read_words(path: str) -> list[str]:
    """The words of a file, one a line. Raises UserError, naming file and line, for empty lines and broken UTF-8."""
    try:
        lines = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8).removesuffix(b"\n").split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    words = []
    for number, line in enumerate(lines, start=1):
        try:
            words.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: line {number}: the word is not UTF-8 ({error.reason})") from None
        if not words[-1]:
            raise UserError(f"{path}: line {number}: empty; there must be a word for each row")
    return words


def blocks(path: str, words: list[str] | None) -> Iterator[Block]:
    """The rows of a file, some at a time; without words they are named by their numbers.

    Raises UserError, naming the file, for what is no such array and another number of words, and, naming the row,
    behind those before it, for unusable values.
    """
    rows = len(mapped(path))
    if words is not None and len(words) != rows:
        raise UserError(f"{path}: {rows} rows, but {len(words)} words for them")
    for start in progress(range(0, rows, BLOCK_ROWS), Path(path).name, unit=" blocks"):
        numbers = range(start, min(start + BLOCK_ROWS, rows))
        with np.errstate(over="ignore", invalid="ignore"):  # infinity and NaN are named
            # Mapped anew: pages that were read count as memory of this process until they are unmapped.
            values = mapped(path)[start : numbers.stop].astype(np.float32)
        names = list(map(str, numbers)) if words is None else words[start : numbers.stop]
        yield from usable(Block(names, values, path, numbers))


def check(options: dict[str, Any]) -> FileOptions:
    """The options that all files have. Raises UserError for unknown ones and for wrong values."""
    chosen = file_source.options(WHAT, options, ("words",))
    if not isinstance(options.get("words") or "", str):
        raise UserError(f"{WHAT}: option words must be a string, not {options['words']!r}")
    return chosen


def read(vocabulary: Vocabulary | None, options: dict[str, Any], device: str = "cpu") -> EmbeddingTable:
    """Raw rows of the vocabulary's words, in its order; for None, all rows of the file.

    Options: `path` (required), `words` (a text file, one word a line, as many as rows), `duplicates` (`error`, or
    `first`: the first row of a word counts), `licence` (for the table's facts). No device. Raises UserError for other
    options, for a vocabulary where there are no words, and for every fault of the files, naming file and row or line.
    """
    chosen, words_path = check(options), options.get("words")
    if words_path is None:
        file_source.refuse_vocabulary(WHAT, vocabulary, "words")
    words = None if words_path is None else read_words(words_path)
    wanted = None if vocabulary is None else vocabulary.words
    selected = select(lambda: blocks(chosen.path, words), wanted, chosen.first_wins)
    files = [chosen.path] if words_path is None else [chosen.path, words_path]
    return file_source.table("npy", chosen, files, vocabulary, selected)
