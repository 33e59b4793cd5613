"""The words that an embedding table is asked for, and which of them it keeps."""

from collections.abc import Collection, Hashable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.stage import UserError
from pipeline.store import read_parquet


class Vocabulary(NamedTuple):
    """Words in order of priority. The first `always` of them are the evaluation sets' words."""

    words: list[str]
    always: int = 0


def read_vocabulary(path: str | Path) -> Vocabulary:
    """Read Parquet `word: string, always: bool` in order of priority; words that are always in come first.

    Raises UserError, naming the file, if it is no such table, holds no word, or holds a word twice.
    """
    table = read_parquet(path, ["word", "always"])
    rows = list(zip(table.column("word").to_pylist(), table.column("always").to_pylist(), strict=True))
    first = [word for word, always in rows if always]
    words = first + [word for word, always in rows if not always]
    if not words:
        raise UserError(f"{path}: a vocabulary without a word")
    seen: set[str] = set()
    for word in words:
        if not word:
            raise UserError(f"{path}: a vocabulary with an empty word")
        if word in seen:
            raise UserError(f"{path}: the word {word!r} stands twice")
        seen.add(word)
    return Vocabulary(words, len(first))


def within(vocabulary: Vocabulary, words: Collection[str]) -> Vocabulary:
    """The part of a vocabulary that is in `words`, in the same order."""
    wanted = set(words)
    kept = [word for word in vocabulary.words if word in wanted]
    return Vocabulary(kept, sum(word in wanted for word in vocabulary.words[: vocabulary.always]))


def first_of_each(keys: Sequence[Hashable], order: Iterable[int]) -> list[int]:
    """Positions, ascending, that keep one position a key: the one that comes first in `order`.

    Two words with the same vector have a cosine of 1 that means nothing, so tables keep one word of them.
    """
    chosen: dict[Hashable, int] = {}
    for position in order:
        chosen.setdefault(keys[position], position)
    return sorted(chosen.values())
