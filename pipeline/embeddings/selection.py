"""Which rows of a file are a vocabulary's, chosen while the file is read.

Which row is a word's: the one with exactly this word, else the first (files of vectors are sorted by frequency) whose
lower-case form it is, so that "paris" finds "Paris". A row that is itself asked for is never lent.

Only the wanted rows are kept, each in its place from the start: beside the vectors there is a block, and 8 bytes a row
of the file to find words that stand twice. Those are numbers made of the words; where two are equal, the file is read a
second time to see whether the words are, and where they stand.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.stage import UserError
from pipeline.store import Array

MOVED_ROWS = 1024  # at a time, when gaps are closed

MISSING, LENT, EXACT = range(3)  # what a wanted word has found


class Block(NamedTuple):
    """Consecutive rows: their words, vectors float32 [n, d], and where they stand: a file, and their numbers in it."""

    words: list[str]
    vectors: Array
    file: str
    numbers: Sequence[int]


class Selected(NamedTuple):
    """The words that were found, their vectors float32 [n, d], how many rows the file has, and how many words are
    spelt in another case there."""

    words: list[str]
    vectors: Array
    rows: int
    other_case: int


def usable(block: Block, unit: str = "row") -> Iterator[Block]:
    """The block itself; if it holds an unusable row, only the rows before it, and then a UserError.

    That names the file, the row's number after `unit`, and the word. A row is unusable with NaN, infinity (also what is
    beyond float32), or nothing but zeros.
    """
    finite = np.isfinite(block.vectors).all(axis=1)
    with np.errstate(invalid="ignore"):  # some NaN are signalled; they are found already
        good = finite & block.vectors.any(axis=1)
    if good.all():
        yield block
        return
    bad = int(np.argmin(good))
    yield Block(block.words[:bad], block.vectors[:bad], block.file, block.numbers[:bad])
    fault = "a zero vector has no direction" if finite[bad] else "NaN or infinity"
    raise UserError(f"{block.file}: {unit} {block.numbers[bad]} ({block.words[bad]!r}): {fault}")


def select(
    blocks: Callable[[], Iterable[Block]], wanted: Sequence[str] | None, first_wins: bool, unit: str = "row"
) -> Selected:
    """The rows of the wanted words, in their order; with `wanted` None, all rows in the file's order.

    `blocks` reads the file from its beginning. A word that stands twice, wanted or not, raises UserError, or
    `first_wins`. Faults are found in the file's order: a word that stands twice before a fault is what is named.
    """
    keys = None if first_wins else array("q")
    kept = _All(first_wins) if wanted is None else _Wanted(wanted)
    rows = 0
    try:
        for block in blocks():
            rows += len(block.words)
            if keys is not None:
                keys.extend(map(hash, block.words))
            kept.add(block)
    except UserError:
        _refuse_duplicates(keys, blocks, unit)
        raise
    _refuse_duplicates(keys, blocks, unit)
    return Selected(kept.words(), kept.vectors(), rows, kept.other_case())


class _All:
    """All rows, or all whose word is in no earlier one, in a buffer that grows in place."""

    def __init__(self, first_wins: bool) -> None:
        self._words: list[str] = []
        self._values = array("f")
        self._dims = 0
        self._seen: set[str] | None = set() if first_wins else None

    def add(self, block: Block) -> None:
        words, vectors = block.words, block.vectors
        if self._seen is not None:
            rows = []
            for row, word in enumerate(words):
                if word not in self._seen:
                    self._seen.add(word)
                    rows.append(row)
            if len(rows) < len(words):
                words, vectors = [words[row] for row in rows], vectors[rows]
        self._words += words
        self._values.frombytes(np.ascontiguousarray(vectors, np.float32).reshape(-1).view(np.uint8).data)
        self._dims = block.vectors.shape[1]

    def words(self) -> list[str]:
        return self._words

    def vectors(self) -> Array:
        return np.frombuffer(self._values, np.float32).reshape(len(self._words), self._dims)

    def other_case(self) -> int:
        return 0


class _Wanted:
    """The rows of wanted words, each in its word's place; the places that stay empty are closed at the end."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = wanted
        self._place = {word: place for place, word in enumerate(wanted)}
        self._state = np.full(len(wanted), MISSING, np.uint8)
        self._vectors = np.empty((0, 0), np.float32)

    def add(self, block: Block) -> None:
        if not self._vectors.size:  # pages that are never written take no memory
            self._vectors = np.empty((len(self._wanted), block.vectors.shape[1]), np.float32)
        rows, places = [], []
        for row, word in enumerate(block.words):
            if (place := self._place.get(word)) is not None:
                if self._state[place] == EXACT:
                    continue
                self._state[place] = EXACT
            elif (place := self._place.get(word.lower())) is not None and self._state[place] == MISSING:
                self._state[place] = LENT
            else:
                continue
            rows.append(row)
            places.append(place)
        self._vectors[places] = block.vectors[rows]  # a place that stands twice takes the later row, as it should

    def words(self) -> list[str]:
        return [self._wanted[place] for place in np.flatnonzero(self._state).tolist()]

    def vectors(self) -> Array:
        found = np.flatnonzero(self._state)
        if len(found) < len(self._vectors):  # rows only move up, so none is overwritten before it has moved
            for start in range(0, len(found), MOVED_ROWS):
                moved = found[start : start + MOVED_ROWS]
                self._vectors[start : start + len(moved)] = self._vectors[moved]
        return self._vectors[: len(found)]

    def other_case(self) -> int:
        return int((self._state == LENT).sum())


def _refuse_duplicates(keys: "array[int] | None", blocks: Callable[[], Iterable[Block]], unit: str) -> None:
    """Read the rows again where two words may be equal. Raises UserError if they are, naming where both stand."""
    if not keys:
        return
    ordered = np.sort(np.frombuffer(keys, np.int64))
    twice = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not twice:
        return
    seen: dict[str, tuple[str, int]] = {}
    for block in blocks():
        for word, number in zip(block.words, block.numbers, strict=True):
            if hash(word) in twice:
                if word in seen:
                    file, earlier = seen[word]
                    there = "" if file == block.file else f" of {file}"
                    raise UserError(
                        f"{block.file}: {unit} {number}: the word {word!r} stands already in {unit} {earlier}{there}; "
                        "option duplicates: first keeps the first"
                    )
                seen[word] = block.file, number
