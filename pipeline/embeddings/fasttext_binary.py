"""Source `fasttext_binary`: a model in fastText's own binary format (`.bin`), with vectors for any word by its parts.

The file holds the words and two matrices, of which the first has the vectors of words and n-grams (fastText's
dictionary.cc, densematrix.cc). It is mapped into memory, so that only the rows that are asked for are read: the 7 GB of
cc.en.300.bin need not fit. Before that its structure is followed to the end, which a truncated file does not reach.

Which word is a wanted one's, also where they differ in case, says fasttext_vectors.py: as in the model's `.vec`.

Words that are not UTF-8 (published models cut some in the middle of a character) cannot be asked for and are left out.
"""

import json
import logging
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.embeddings import fasttext_vectors
from pipeline.embeddings.fasttext_vectors import Model
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError, check_keys
from pipeline.store import Array, EmbeddingTable, digest, versions

MAGIC = 793712314
VERSIONS = (11, 12)  # they differ for classifiers only
ARGUMENTS = "<12id"  # dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdateRate; t
DICTIONARY = "<3i2q"  # words and labels, words, labels; tokens; pruned n-grams, which only quantised models have
WORD_BYTES = 1 << 16

log = logging.getLogger("pipeline")


class _DamagedError(Exception):
    """The file ends where more should come, or contradicts itself."""


def load(path: str) -> Model:
    """The model in a file, its matrices mapped into memory.

    Raises UserError, naming the file, for another format, classifiers, quantised models, and what is truncated or
    contradicts itself.
    """
    try:
        with open(path, "rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:  # what mmap says to an empty file
        raise UserError(f"{path}: empty; a fastText model (.bin) is wanted") from None
    try:
        return _parse(content, path)
    except _DamagedError:
        raise UserError(f"{path}: a truncated or damaged fastText model (.bin)") from None


def _parse(content: mmap.mmap, path: str) -> Model:
    """Follow the file's structure to its end. Raises _DamagedError, and UserError for what is not meant."""
    if content[:4] != struct.pack("<i", MAGIC):
        text = "; for a text file (.vec) give source word2vec_text" if content[:64].isascii() else ""
        raise UserError(f"{path}: not a fastText model (.bin){text}")
    place = 4
    (version,), place = _unpack(content, "<i", place)
    if version not in VERSIONS:
        raise UserError(f"{path}: a fastText model of format version {version}; known are {VERSIONS[0]}, {VERSIONS[1]}")
    (dims, *_, buckets, min_n, max_n, _, _), place = _unpack(content, ARGUMENTS, place)
    (entries, count, labels, _, pruned), place = _unpack(content, DICTIONARY, place)
    if labels:
        raise UserError(f"{path}: a fastText classifier, with {labels} labels; a model of word vectors is wanted")
    if entries != count or count < 1 or min(dims, buckets, min_n, max_n) < 0:
        raise _DamagedError
    words, place = _words(content, count, place)
    (quantised,), place = _unpack(content, "<?", place)
    if quantised or pruned > 0:
        raise UserError(f"{path}: a quantised fastText model (.ftz); give the whole one (.bin)")
    vectors, place = _matrix(content, place)
    (_,), place = _unpack(content, "<?", place)
    _, place = _matrix(content, place)
    buckets = buckets if max_n >= min_n else 0
    if vectors.shape != (count + buckets, dims) or not vectors.size or place != len(content):
        raise _DamagedError
    return Model(words, vectors[:count], vectors[count:], min_n, max_n)


def _unpack(content: mmap.mmap, layout: str, place: int) -> tuple[tuple[Any, ...], int]:
    """The values at a place, and the place behind them."""
    end = place + struct.calcsize(layout)
    if end > len(content):
        raise _DamagedError
    return struct.unpack(layout, content[place:end]), end


def _words(content: mmap.mmap, count: int, place: int) -> tuple[list[str], int]:
    """The dictionary's words, and the place behind it; in place of those that are not UTF-8, an empty one."""
    words = []
    for _ in range(count):
        end = content.find(b"\0", place, place + WORD_BYTES)
        if end < 0:
            raise _DamagedError
        try:
            words.append(content[place:end].decode("utf-8"))
        except UnicodeDecodeError:
            words.append("")
        place = end + 1 + struct.calcsize("<qb")  # count, and whether it is a word or a label
    return words, place


def _matrix(content: mmap.mmap, place: int) -> tuple[Array, int]:
    """A matrix float32 [m, n], mapped, and the place behind it."""
    (rows, columns), place = _unpack(content, "<2q", place)
    if rows < 0 or columns < 0 or place + 4 * rows * columns > len(content):
        raise _DamagedError
    return np.frombuffer(content, "<f4", rows * columns, place).reshape(rows, columns), place + 4 * rows * columns


def check(options: dict[str, Any]) -> None:
    """Raises UserError for unknown options and for wrong values."""
    what = "embedding source fasttext_binary"
    check_keys(what, options, ("oov", "licence"), ("path",))
    if not isinstance(options["path"], str):
        raise UserError(f"{what}: option path must be a string, not {options['path']!r}")
    if options.get("oov", "subwords") not in ("subwords", "drop"):
        raise UserError(f"{what}: oov {options['oov']!r} is not one of subwords, drop")


def read(vocabulary: Vocabulary | None, options: dict[str, Any], device: str = "cpu") -> EmbeddingTable:
    """Raw vectors of the vocabulary's words, in its order; for None, of all words that the model holds, in its order.

    Options: `path` (required), `oov` (words that the model holds in no case: `subwords`, made of their parts, or
    `drop`), `licence` (for the table's facts). No device. Raises UserError for other options, a file that is no whole
    model, and damaged values, naming file and word.
    """
    check(options)
    path, oov = options["path"], options.get("oov", "subwords")
    model = load(path)
    broken = model.words.count("")
    wanted = [word for word in model.words if word] if vocabulary is None else vocabulary.words
    found = fasttext_vectors.find(model, list(dict.fromkeys(wanted)), oov == "subwords", path)
    log.info(
        "%s: %d words of %d, %d of them by subwords; %d have no vector, %d a zero one; %d words are not UTF-8",
        *(path, len(found.words), len(model.words), found.by_subwords, found.missing, found.zero, broken),
    )
    facts = {
        "source": "fasttext_binary",
        "model": Path(path).name,
        "licence": str(options.get("licence", "as the file's publisher says")),
        "normalisation": "none: raw values of the source",
        "oov": oov,
        "digests": json.dumps({Path(path).name: digest(path)}),
        "versions": json.dumps(versions("gensim")),
        "words_not_utf8": str(broken),
    }
    return fasttext_vectors.table(found, vocabulary, path, facts)
