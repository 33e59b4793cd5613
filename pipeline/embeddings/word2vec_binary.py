"""Source `word2vec_binary`: word2vec's binary format, such as GoogleNews-vectors-negative300.bin.

A header line "n d"; then n rows of a word in UTF-8, a space, and d values float32, little-endian. A line end may follow
each row (word2vec's own files have it, gensim's have not). Plain, .gz, or .zip with one file in it. The file is
streamed and only the values of the wanted words are kept. Which row is a word's, and how words that stand twice are
found: `selection`.

What is checked, on every row, wanted or not: that its word is UTF-8, not empty, and stands in no earlier row, that its
values are finite, and not all zero. At the end: that nothing follows the n rows. Rows are counted from 0.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pipeline.embeddings import file_source
from pipeline.embeddings.file_source import FileOptions
from pipeline.embeddings.opened import opened
from pipeline.embeddings.selection import Block, select, usable
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.embeddings.word2vec_header import HEADER_DIGITS, parse_header
from pipeline.stage import UserError, progress
from pipeline.store import EmbeddingTable

BLOCK_BYTES = 1 << 20
HEADER_BYTES = 2 * HEADER_DIGITS + 8  # digits, a space, a line end, and some room
WORD_BYTES = 1 << 12  # longer is no word: a damaged file, or another format
TEXT = re.compile(rb"[-+.0-9eE \n]+")  # what values look like in the text format


def rows(file: BinaryIO, dims: int, count: int, name: str) -> Iterator[tuple[int, list[bytes], list[bytes]]]:
    """The rows of a file behind its header, some at a time: number of the first, words, and values as bytes.

    Raises UserError, naming the row, behind those before it, where the file ends too early or goes on behind the last.
    """
    size, first, rest = 4 * dims, 0, b""
    while first < count:
        more = file.read(max(BLOCK_BYTES, size))
        content, start = rest + more, 0
        words: list[bytes] = []
        values: list[bytes] = []
        while first + len(words) < count:
            space = content.find(b" ", start, start + WORD_BYTES)
            if space < 0 or len(content) < space + 1 + size:
                break
            words.append(content[start:space].lstrip(b"\n"))
            start = space + 1 + size
            values.append(content[space + 1 : start])
        if words:
            yield first, words, values
        first, rest = first + len(words), content[start:]
        if first < count and not more:
            raise UserError(f"{name}: row {first}: the file ends in it, and its header promises {count}: truncated?")
        if first < count and len(rest) >= WORD_BYTES and rest.find(b" ", 0, WORD_BYTES) < 0:
            raise UserError(f"{name}: row {first}: no word and a space; damaged, or another header than its rows have?")
    if (rest + file.read(BLOCK_BYTES)).strip(b"\n"):
        raise UserError(f"{name}: goes on behind the {count} rows that its header promises; damaged?")


def blocks(path: str) -> Iterator[Block]:
    """The rows of a file, streamed.

    Raises UserError, naming file and row, behind the rows before it: for a file that cannot be read or has no header,
    ends too early or too late, and for a row whose word is empty or not UTF-8, or whose values are unusable.
    """
    with opened(path) as file:
        header = parse_header(first_line := file.readline(HEADER_BYTES), path)
        if header is None or not first_line.endswith(b"\n"):
            raise UserError(f'{path}: does not begin with the line "rows dimensions" of word2vec\'s binary format')
        count, dims = header
        if not count or not dims:
            raise UserError(f"{path}: the header says {count} rows of {dims} values: nothing")
        for first, words, values in progress(rows(file, dims, count, path), Path(path).name, unit=" blocks"):
            if first == 0 and TEXT.fullmatch(values[0]):
                raise UserError(f"{path}: row 0: its values are text; give source word2vec_text")
            vectors = np.frombuffer(b"".join(values), "<f4").reshape(-1, dims).astype(np.float32, copy=False)
            decoded, fault = _decoded(words, first, path)
            numbers = range(first, first + len(decoded))
            yield from usable(Block(decoded, vectors[: len(decoded)], path, numbers))
            if fault:
                raise fault


def _decoded(words: list[bytes], first: int, name: str) -> tuple[list[str], UserError | None]:
    """The words up to the first fault among them, and that fault; `first` is the first one's row."""
    decoded: list[str] = []
    for word in words:
        if not word:
            return decoded, UserError(f"{name}: row {first + len(decoded)}: an empty word; damaged?")
        try:
            decoded.append(word.decode("utf-8"))
        except UnicodeDecodeError as error:
            return decoded, UserError(f"{name}: row {first + len(decoded)}: the word is not UTF-8 ({error.reason})")
    return decoded, None


def check(options: dict[str, Any]) -> FileOptions:
    """The options. Raises UserError for unknown ones and for wrong values."""
    return file_source.options("embedding source word2vec_binary", options)


def read(vocabulary: Vocabulary | None, options: dict[str, Any], device: str = "cpu") -> EmbeddingTable:
    """Raw rows of the vocabulary's words, in its order; for None, all rows of the file.

    Options: `path` (required), `duplicates` (`error`, or `first`: the first row of a word counts), `licence` (for the
    table's facts). No device. Raises UserError for other options and for every fault of the file, naming file and row.
    """
    chosen = check(options)
    wanted = None if vocabulary is None else vocabulary.words
    selected = select(lambda: blocks(chosen.path), wanted, chosen.first_wins)
    return file_source.table("word2vec_binary", chosen, [chosen.path], vocabulary, selected)
