"""Source `word2vec_text`: any file in word2vec's text format, such as fastText's and word2vec's `.vec`, GloVe's `.txt`.

One word and its d values a line, separated by spaces, optionally after a header line "n d"; without one, d is what the
first line has. Plain or .gz. The file is streamed and only the values of the wanted words are kept, so 2 million x 300
values need not fit in memory; the file's words do.

Which row is a word's: the one with exactly this word, else the first (these files are sorted by frequency) whose
lower-case form it is, so that "paris" finds "Paris". A row that is itself asked for is never lent.

What is checked, on every row, wanted or not: that its word is UTF-8 and stands in no earlier row, that it has d values,
that they are finite numbers, and not all zero. At the end: that there are as many rows as the header promised.

A word of several parts ("New York") looks like a row with too many values, the first of them damaged ("of x 2 3"). So
it is refused unless option `spaces_in_words: true` says that the file has such words, as some of GloVe's do. The values
are then split off from the right, and only a word that ends in a number, NaN or infinity counts as a value too many.
"""

import gzip
import json
import logging
import re
import zlib
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError, check_keys, progress
from pipeline.store import Array, EmbeddingTable, digest, versions

ENDS_IN_NUMBER = re.compile(rb"\s[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf|infinity)$", re.IGNORECASE)
HEADER_DIGITS = 12  # more is no file's size

log = logging.getLogger("pipeline")


class Row(NamedTuple):
    """A line that holds a row: its number (from 1), its word, and its values float32 [d]."""

    line: int
    word: str
    vector: Array


def parse_header(line: bytes, name: str) -> tuple[int, int] | None:
    """(rows, dimensions) if the first line is a header: two whole numbers and nothing else. None if it is a row.

    Raises UserError, naming file and line, for numbers that cannot be a file's.
    """
    parts = line.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        return None
    if any(len(part) > HEADER_DIGITS for part in parts):
        raise UserError(f"{name}: line 1: a header of numbers of more than {HEADER_DIGITS} digits; damaged?")
    return int(parts[0]), int(parts[1])


def rows(file: BinaryIO, name: str, spaces_in_words: bool) -> Iterator[Row]:
    """The rows of an open file, streamed; blank lines are skipped.

    Raises UserError, naming file and line, for a wrong number of values, values that cannot be a vector, bytes that are
    not UTF-8, an empty file, and a number of rows that is not the header's.
    """
    first = file.readline()
    if not first.strip():
        raise UserError(f"{name}: line 1: empty; a word2vec file starts with its header or its first row")
    header = parse_header(first, name)
    dims = header[1] if header else len(first.split()) - 1
    if dims < 1:
        raise UserError(f"{name}: line 1: no values; a row is a word and its values, separated by spaces")
    count = 0
    for number, line in enumerate(file if header else _chain(first, file), start=2 if header else 1):
        parts = line.rsplit(None, dims)
        if not parts:
            continue
        if len(parts) != dims + 1 or ENDS_IN_NUMBER.search(parts[0]):
            raise UserError(f"{name}: line {number}: {len(line.split()) - 1} values, expected {dims}")
        if not spaces_in_words and len(spaced := parts[0].split()) > 1:
            raise UserError(
                f"{name}: line {number}: {dims + len(spaced) - 1} values, expected {dims}; "
                f"or is {parts[0].decode('utf-8', 'replace')!r} a word? Then give option spaces_in_words: true"
            )
        try:
            word = parts[0].decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{name}: line {number}: the word is not UTF-8 ({error.reason})") from None
        count += 1
        yield Row(number, word, parse(parts[1:], f"{name}: line {number} ({word!r})"))
    if header and count != header[0]:
        raise UserError(
            f"{name}: the header promises {header[0]} rows, but the file has {count}: truncated or damaged?"
        )
    if not count:
        raise UserError(f"{name}: no row in it")


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


class Found(NamedTuple):
    """Where a wanted word was found: the spelling there, and the position of its vector."""

    spelling: str
    position: int


class Collected(NamedTuple):
    """What a file has: the wanted words, all kept vectors (float32 [kept, d]), and its number of rows."""

    found: dict[str, Found]
    vectors: Array
    rows: int


def collect(items: Iterable[Row], name: str, wanted: set[str] | None, first_wins: bool) -> Collected:
    """The wanted words' rows, in the file's order. With `wanted` None every row is kept.

    A word that stands twice, wanted or not, raises UserError, or the first wins.
    """
    exact: dict[str, Found] = {}
    lent: dict[str, Found] = {}
    lines: dict[str, int] = {}
    values = array("f")
    count = kept = dims = 0
    for row in items:
        count += 1
        if (earlier := lines.setdefault(row.word, row.line)) != row.line:
            if first_wins:
                continue
            raise UserError(
                f"{name}: line {row.line}: the word {row.word!r} stands already in line {earlier}; "
                "option duplicates: first keeps the first"
            )
        if wanted is None or row.word in wanted:
            found, word = exact, row.word
        elif (word := row.word.lower()) in wanted and word not in lent:
            found = lent
        else:
            continue
        values.frombytes(row.vector.tobytes())
        found[word] = Found(row.word, kept)
        kept, dims = kept + 1, len(row.vector)
    return Collected(lent | exact, np.frombuffer(values, np.float32).reshape(kept, dims), count)


def read(vocabulary: Vocabulary | None, options: dict[str, Any], device: str = "cpu") -> EmbeddingTable:
    """Raw rows of the vocabulary's words, in its order; for None, all rows of the file.

    Options: `path` (required), `duplicates` (`error`, or `first`: the first row of a word counts), `spaces_in_words`
    (`false`, or `true`: the file has words of several parts), `licence` (for the table's facts). No device. Raises
    UserError for other options and for every fault of the file, naming file and line.
    """
    what = "embedding source word2vec_text"
    check_keys(what, options, ("duplicates", "licence", "spaces_in_words"), ("path",))
    path, duplicates = options["path"], options.get("duplicates", "error")
    spaces_in_words = options.get("spaces_in_words", False)
    if not isinstance(path, str):
        raise UserError(f"{what}: option path must be a string, not {path!r}")
    if duplicates not in ("error", "first"):
        raise UserError(f"{what}: duplicates {duplicates!r} is not one of error, first")
    if not isinstance(spaces_in_words, bool):
        raise UserError(f"{what}: spaces_in_words {spaces_in_words!r} is not one of true, false")
    wanted = None if vocabulary is None else set(vocabulary.words)
    with _opened(path) as file:
        items = progress(rows(file, path, spaces_in_words), Path(path).name, unit="row")
        found, vectors, count = collect(items, path, wanted, duplicates == "first")
    words = [word for word in (found if vocabulary is None else vocabulary.words) if word in found]
    if not words:
        raise UserError(f"{path}: none of the {len(vocabulary.words) if vocabulary else 0} wanted words is in it")
    if vocabulary is not None:
        _log_use(path, count, len(words), len(vocabulary.words))
    facts = {
        "source": "word2vec_text",
        "model": Path(path).name,
        "licence": str(options.get("licence", "as the file's publisher says")),
        "normalisation": "none: raw values of the source",
        "digests": json.dumps({Path(path).name: digest(path)}),
        "versions": json.dumps(versions()),
        "words_missing": str(len(vocabulary.words) - len(words) if vocabulary else 0),
        "words_found_in_other_case": str(sum(found[word].spelling != word for word in words)),
    }
    positions = [found[word].position for word in words]
    whole = positions == list(range(len(vectors)))  # all of a large file: no second copy of it
    return EmbeddingTable(words, vectors if whole else vectors[positions], facts)


def _log_use(path: str, rows: int, used: int, wanted: int) -> None:
    """Say what went unused; a warning if it is more than half of the file or of the vocabulary."""
    if used < rows or used < wanted:
        level = logging.WARNING if 2 * used < max(rows, wanted) else logging.INFO
        text = "%s: %d rows, %d used; %d words of the vocabulary have no vector"
        log.log(level, text, path, rows, used, wanted - used)


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked if it ends in .gz. Raises UserError, naming the file, where they cannot be read."""
    try:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            yield file  # type: ignore[misc]
    except EOFError:
        raise UserError(f"{path}: truncated gzip file") from None
    except (OSError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{path}: cannot be read ({reason})") from None


def _chain(first: bytes, rest: BinaryIO) -> Iterator[bytes]:
    yield first
    yield from rest


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return b"_" not in text
