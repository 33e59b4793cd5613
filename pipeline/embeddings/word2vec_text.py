"""Source `word2vec_text`: any file in word2vec's text format, such as fastText's and word2vec's `.vec`, GloVe's `.txt`.

One word and its d values a line, separated by spaces, optionally after a header line "n d"; without one, d is what the
first line has. Plain, .gz, or .zip with one file in it. The file is streamed and only the values of the wanted words
are kept, so 2 million x 300 values need not fit in memory.

Which row is a word's: the one with exactly this word, else the first (these files are sorted by frequency) whose
lower-case form it is, so that "paris" finds "Paris". A row that is itself asked for is never lent.

What is checked, on every row, wanted or not: that its word is UTF-8 and stands in no earlier row, that it has d values,
that they are finite numbers, and not all zero. At the end: that there are as many rows as the header promised.

A word of several parts ("New York") looks like a row with too many values, the first of them damaged ("of x 2 3"). So
it is refused unless option `spaces_in_words: true` says that the file has such words, as some of GloVe's do. The values
are then split off from the right, and only a word that ends in a number, NaN or infinity counts as a value too many.

Blocks of lines are parsed at once, several side by side (`text_blocks`); a block with anything unusual in it is parsed
line by line here, which knows every way to write a row, and what is wrong in which line.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.embeddings import file_source, text_blocks
from pipeline.embeddings.file_source import FileOptions
from pipeline.embeddings.in_order import in_order
from pipeline.embeddings.opened import opened
from pipeline.embeddings.selection import Block, select
from pipeline.embeddings.text_blocks import Lines
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.embeddings.word2vec_header import parse_header
from pipeline.stage import UserError, progress
from pipeline.store import Array, EmbeddingTable

WHAT = "embedding source word2vec_text"
ENDS_IN_NUMBER = re.compile(rb"\s[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf|infinity)$", re.IGNORECASE)
WORKERS = 2  # unpacking, hashing and choosing take the caller's thread, which keeps no more of them busy


class Parsed(NamedTuple):
    """The rows of some lines up to the first fault among them, and that fault."""

    block: Block
    fault: UserError | None = None


class Format(NamedTuple):
    """What it takes to parse a line: the file's name, the number of values in a row, and whether words have spaces."""

    name: str
    dims: int
    spaces_in_words: bool


def parse_block(lines: Lines, how: Format) -> Parsed:
    """The rows of some lines: all at once if they are written plainly, else line by line. The result is the same."""
    if (quick := text_blocks.parse(lines.content, how.dims)) is None:
        return parse_lines(lines, how)
    words, vectors = quick
    return Parsed(Block(words, vectors, how.name, range(lines.first, lines.first + len(words))))


def parse_lines(lines: Lines, how: Format) -> Parsed:
    """The rows of some lines, line by line, up to the first fault; blank lines are skipped."""
    words: list[str] = []
    vectors: list[Array] = []
    numbers: list[int] = []
    fault = None
    try:
        for number, line in enumerate(lines.content.split(b"\n"), start=lines.first):
            if line.strip():
                word, vector = parse_line(line, number, how)
                words.append(word)
                vectors.append(vector)
                numbers.append(number)
    except UserError as error:
        fault = error
    values = np.array(vectors) if vectors else np.empty((0, how.dims), np.float32)
    return Parsed(Block(words, values, how.name, numbers), fault)


def parse_line(line: bytes, number: int, how: Format) -> tuple[str, Array]:
    """The word of a line that is not blank, and its values float32 [d].

    Raises UserError, naming file and line, for a wrong number of values, values that cannot be a vector, and bytes that
    are not UTF-8.
    """
    where = f"{how.name}: line {number}"
    parts = line.rsplit(None, how.dims)
    if len(parts) != how.dims + 1 or ENDS_IN_NUMBER.search(parts[0]):
        raise UserError(f"{where}: {len(line.split()) - 1} values, expected {how.dims}")
    if not how.spaces_in_words and len(spaced := parts[0].split()) > 1:
        raise UserError(
            f"{where}: {how.dims + len(spaced) - 1} values, expected {how.dims}; "
            f"or is {parts[0].decode('utf-8', 'replace')!r} a word? Then give option spaces_in_words: true"
        )
    try:
        word = parts[0].decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: the word is not UTF-8 ({error.reason})") from None
    return word, parse(parts[1:], f"{where} ({word!r})")


def parse(values: list[bytes], where: str) -> Array:
    """The d values of a row, float32 [d]. Raises UserError, saying where, for what cannot be a vector."""
    try:
        vector = np.fromstring(b" ".join(values), np.float32, sep=" ")
    except ValueError:  # numpy 2.4 and newer; before, the rest was dropped with a warning
        vector = np.empty(0, np.float32)
    if len(vector) != len(values):
        bad = next((value for value in values if not _is_number(value)), b"?")
        raise UserError(f"{where}: {bad.decode('utf-8', 'replace')!r} is not a number")
    if not np.isfinite(vector).all():
        raise UserError(f"{where}: NaN or infinity")
    if not vector.any():
        raise UserError(f"{where}: a zero vector has no direction")
    return vector


def blocks(
    path: str,
    spaces_in_words: bool,
    block_bytes: int = text_blocks.BLOCK_BYTES,
    parser: Callable[[Lines, Format], Parsed] = parse_block,
) -> Iterator[Block]:
    """The rows of a file, streamed, a block of lines of about `block_bytes` at a time.

    Raises UserError, naming file and line, behind the rows before it: for what no line may be (`parse_line`), an empty
    file, a file that cannot be read, and a number of rows that is not the header's.
    """
    with opened(path) as file:
        first = file.readline().removeprefix(text_blocks.BYTE_ORDER_MARK)
        if not first.strip():
            raise UserError(f"{path}: line 1: empty; a word2vec file starts with its header or its first row")
        header = parse_header(first, path)
        dims = header[1] if header else len(first.split()) - 1
        if dims < 1:
            raise UserError(f"{path}: line 1: no values; a row is a word and its values, separated by spaces")
        parts = text_blocks.split(file, 2 if header else 1, b"" if header else first, block_bytes)
        packed = path.endswith((".gz", ".zip"))
        total = None if packed else -(-os.path.getsize(path) // block_bytes)
        shown = progress(parts, Path(path).name, total, unit=" MiB" if block_bytes == 1 << 20 else " blocks")
        how, count = Format(path, dims, spaces_in_words), 0
        for parsed in in_order(lambda lines: parser(lines, how), shown, WORKERS):
            if parsed.block.words:
                count += len(parsed.block.words)
                yield parsed.block
            if parsed.fault:
                raise parsed.fault
    if header and count != header[0]:
        raise UserError(
            f"{path}: the header promises {header[0]} rows, but the file has {count}: truncated or damaged?"
        )
    if not count:
        raise UserError(f"{path}: no row in it")


def check(options: dict[str, Any]) -> FileOptions:
    """The options that all files have. Raises UserError for unknown ones and for wrong values."""
    chosen = file_source.options(WHAT, options, ("spaces_in_words",))
    if not isinstance(options.get("spaces_in_words", False), bool):
        raise UserError(f"{WHAT}: spaces_in_words {options['spaces_in_words']!r} is not one of true, false")
    return chosen


def read(vocabulary: Vocabulary | None, options: dict[str, Any], device: str = "cpu") -> EmbeddingTable:
    """Raw rows of the vocabulary's words, in its order; for None, all rows of the file.

    Options: `path` (required), `duplicates` (`error`, or `first`: the first row of a word counts), `spaces_in_words`
    (`false`, or `true`: the file has words of several parts), `licence` (for the table's facts). No device. Raises
    UserError for other options and for every fault of the file, naming file and line.
    """
    chosen, spaces_in_words = check(options), options.get("spaces_in_words", False)
    wanted = None if vocabulary is None else vocabulary.words
    selected = select(lambda: blocks(chosen.path, spaces_in_words), wanted, chosen.first_wins, "line")
    return file_source.table("word2vec_text", chosen, [chosen.path], vocabulary, selected)


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return b"_" not in text
