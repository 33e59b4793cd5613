"""What a fastText model's vectors are: of words that it holds, and of any other word, made of its parts.

A word is put between < and >, and its n-grams of `min_n` to `max_n` characters are hashed into buckets. The vector of a
word that the model holds is the mean of its own and its n-grams' vectors, that of another the mean of its n-grams'
(Bojanowski et al. 2017, https://arxiv.org/abs/1607.04606). A sum of no vector, or of zeros, has no direction: such a
word is left out.

Which word of the model is a wanted one's: this very word, else the first (models are sorted by frequency) whose
lower-case form it is, so that "paris" finds "Paris", whose parts are then its own spelling's; else it is made of the
parts of the wanted spelling. A word that is itself wanted is never lent. It is the rule of `selection`: of a model, its
`.bin` and its `.vec` give the same words the same vectors; words that are made of parts are in the `.bin` alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError, progress
from pipeline.store import Array, EmbeddingTable


class Model(NamedTuple):
    """`words` [n]; float32 [n, d], their own vectors; float32 [buckets, d], those of the n-grams; the n-grams' lengths.

    Without buckets, words have no parts.
    """

    words: Sequence[str]
    own: Array
    ngrams: Array
    min_n: int
    max_n: int


class Found(NamedTuple):
    """Words with their vectors float32 [n, d]; how many of them by their parts alone, and how many the model spells in
    another case; how many wanted ones were left out because the model does not hold them, and how many because their
    vector is zero."""

    words: list[str]
    vectors: Array
    by_subwords: int
    other_case: int
    missing: int
    zero: int


def find(model: Model, wanted: Sequence[str] | None, subwords: bool, name: str) -> Found:
    """The vectors of the wanted words; with `wanted` None, of all words that the model holds.

    Words that it does not hold are made of their parts if `subwords`, else left out. Raises UserError, beginning with
    `name`, for a vector with NaN or infinity.
    """
    from gensim.models.fasttext import ft_ngram_hashes  # a second: only for those who need it

    buckets, dims = model.ngrams.shape
    rows: dict[str, int] = {}
    for own, word in enumerate(model.words):
        rows.setdefault(word, own)
    asked = list(rows) if wanted is None else wanted
    lent = _other_case(rows, asked)
    words: list[str] = []
    vectors = np.empty((len(asked), dims), np.float32)
    by_subwords = other_case = missing = zero = 0
    for word in progress(asked, "fasttext: words", unit=" words"):
        row = rows.get(word, lent.get(word))
        spelt = word if row is None else model.words[row]
        if row is None and not (subwords and buckets):
            missing += 1
            continue
        parts = model.ngrams[ft_ngram_hashes(spelt, model.min_n, model.max_n, buckets) if buckets else []]
        if row is not None:
            parts = np.concatenate([model.own[row : row + 1], parts])
        with np.errstate(over="ignore", invalid="ignore"):  # infinity and NaN are named
            vector = np.add.reduce(parts, axis=0) / np.float32(max(1, len(parts)))  # in order, as gensim adds
        if not np.isfinite(vector).all():
            raise UserError(f"{name}: the vector of {word!r} holds NaN or infinity; damaged?")
        if not vector.any():
            zero += 1
            continue
        vectors[len(words)] = vector
        words.append(word)
        by_subwords += row is None
        other_case += row is not None and spelt != word
    return Found(words, vectors[: len(words)], by_subwords, other_case, missing, zero)


def _other_case(rows: Mapping[str, int], asked: Sequence[str]) -> dict[str, int]:
    """For asked words the row of the first word that is not asked for itself and has them for its lower-case form."""
    lent: dict[str, int] = {}
    wanted = set(asked)
    for word, row in rows.items():
        if word not in wanted and (lower := word.lower()) in wanted:
            lent.setdefault(lower, row)
    return lent


def table(found: Found, vocabulary: Vocabulary | None, name: str, facts: dict[str, Any]) -> EmbeddingTable:
    """The table of what was found, with `facts` and counts. Raises UserError, beginning with `name`, for no word."""
    if not found.words:
        asked = "its words" if vocabulary is None else f"the {len(vocabulary.words)} wanted words"
        raise UserError(f"{name}: none of {asked} has a vector in it")
    counts = {
        "words_by_subwords": str(found.by_subwords),
        "words_found_in_other_case": str(found.other_case),
        "words_missing": str(found.missing),
        "words_dropped_zero": str(found.zero),
    }
    return EmbeddingTable(found.words, found.vectors, {**facts, **counts})
