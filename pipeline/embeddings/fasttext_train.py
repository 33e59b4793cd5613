"""Source `fasttext_train`: a fastText model (Bojanowski et al. 2017, https://arxiv.org/abs/1607.04606) that gensim
trains on the project's own corpus.

The documents are streamed from their shards, once for the vocabulary and once an epoch. A sentence is a line of a
document, its words those of the corpus's vocabulary: the tokenizer's normaliser, then `pipeline.corpus.vocabulary`'s
rule. With one worker the same corpus, options and seed give the same bits.

Window, lengths of n-grams and negatives are by default fastText's, the learning rate and the subsampling of frequent
words gensim's. The buckets are fewer than fastText's: its 2 million are 2.4 GB at 300 dimensions, and text of ten
million words has some hundred thousand different n-grams.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline import store
from pipeline.embeddings import fasttext_vectors
from pipeline.embeddings.fasttext_vectors import Model
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError, check_keys, progress
from pipeline.store import EmbeddingTable

if TYPE_CHECKING:
    from gensim.models import FastText

# By name, as sources are: the corpus stands beside the embeddings, and only this source builds on it.
CORPUS = "pipeline.corpus.vocabulary"

WHAT = "embedding source fasttext_train"
SENTENCE_WORDS = 10_000  # gensim drops without a word what is beyond
MOST = 2**31 - 1

log = logging.getLogger("pipeline")


class How(NamedTuple):
    """How a model is trained; sg: by skip-grams, else from a bag of words. max_n 0: without parts of words."""

    dims: int = 300
    epochs: int = 5
    window: int = 5
    min_count: int = 5
    min_n: int = 3
    max_n: int = 6
    negative: int = 5
    buckets: int = 200_000
    sg: bool = True
    seed: int = 0
    workers: int = 1


LEAST = {name: 1 for name in How._fields if name not in ("sg", "seed", "max_n")} | {"seed": 0, "max_n": 0}


def check(options: Mapping[str, Any]) -> How:
    """The options about training. Raises UserError for unknown options and for wrong values."""
    check_keys(WHAT, options, ("documents", "tokenizer", "model", "licence", *How._fields))
    for name in ("documents", "tokenizer", "model"):
        if not isinstance(options.get(name, ""), str):
            raise UserError(f"{WHAT}: option {name} must be a string, not {options[name]!r}")
    how = How(**{name: options[name] for name in How._fields if name in options})
    for name, value in how._asdict().items():
        if name == "sg":
            if not isinstance(value, bool):
                raise UserError(f"{WHAT}: sg {value!r} is not one of true, false")
        elif type(value) is not int or not LEAST[name] <= value <= MOST:
            raise UserError(f"{WHAT}: {name} {value!r} is not a whole number from {LEAST[name]} on")
    if 0 < how.max_n < how.min_n:
        raise UserError(f"{WHAT}: max_n {how.max_n} is less than min_n {how.min_n}; 0 does without parts of words")
    return how


class Sentences:
    """The corpus as lists of words; each pass streams the document shards again.

    Raises UserError in the first pass as the shards' reader does. In later ones, which run in a thread of gensim's that
    must not die, what is wrong ends the pass and stands in `fault`.
    """

    def __init__(self, documents: str, tokenizer: str, passes: int) -> None:
        corpus = import_module(CORPUS)
        self._words, self._read_texts = corpus.words, corpus.read_texts
        self._normalizer = corpus.load(tokenizer).normalizer
        self._shards = store.shards(documents)
        self._pass, self._passes = 0, passes
        self.fault: UserError | None = None

    def __iter__(self) -> Iterator[list[str]]:
        self._pass += 1
        name = f"fasttext: pass {self._pass} of {self._passes}"
        try:
            for shard in progress(self._shards, name, unit=" shards"):
                for texts in self._read_texts(shard):
                    for text in texts:
                        yield from self._sentences(text)
        except UserError as error:
            if self._pass == 1:
                raise
            self.fault = error

    def _sentences(self, text: str) -> Iterator[list[str]]:
        normal = self._normalizer.normalize_str(text) if self._normalizer else text
        for line in normal.split("\n"):
            words = self._words(line)
            for start in range(0, len(words), SENTENCE_WORDS):
                yield words[start : start + SENTENCE_WORDS]


def train(sentences: Iterable[list[str]], how: How) -> "FastText":
    """gensim's model, trained on sentences that can be gone through 1 + epochs times.

    Raises UserError where no word occurs often enough.
    """
    from gensim.models import FastText  # seconds: only for those who need it

    model = FastText(
        vector_size=how.dims,
        epochs=how.epochs,
        window=how.window,
        min_count=how.min_count,
        min_n=how.min_n,
        max_n=how.max_n,
        negative=how.negative,
        bucket=how.buckets,
        sg=int(how.sg),
        seed=how.seed,
        workers=how.workers,
    )
    model.build_vocab(sentences)
    if not len(model.wv):
        raise UserError(f"{WHAT}: no word of the corpus occurs {how.min_count} times; min_count is too large for it")
    model.train(sentences, total_examples=model.corpus_count, epochs=how.epochs)
    return model


def read(vocabulary: Vocabulary | None, options: dict[str, Any], device: str = "cpu") -> EmbeddingTable:
    """Vectors of the vocabulary's words, those that the corpus has not by their parts; for None, of the model's words.

    Options: `documents` (data/corpus/documents), `tokenizer` (data/corpus/tokenizer.json), those of `How`, `model` (a
    file to keep the model in, in fastText's binary format), `licence` (for the table's facts). No device: gensim trains
    on the CPU. Raises UserError for other options, wrong values, and a corpus that is missing, damaged, or too small.
    """
    how = check(options)
    documents = options.get("documents", "data/corpus/documents")
    tokenizer = options.get("tokenizer", "data/corpus/tokenizer.json")
    keep = options.get("model")
    sentences = Sentences(documents, tokenizer, 1 + how.epochs)
    trained = train(sentences, how)
    if sentences.fault:
        raise sentences.fault
    if keep:
        from gensim.models.fasttext import save_facebook_model

        with store.atomic_file(keep) as path:
            save_facebook_model(trained, str(path))
    wv = trained.wv
    model = Model(wv.index_to_key, wv.vectors_vocab, wv.vectors_ngrams, wv.min_n, wv.max_n)
    found = fasttext_vectors.find(model, vocabulary.words if vocabulary else None, True, WHAT)
    log.info(
        "fasttext: %d words, %d of them by subwords; %d have no vector, %d a zero one; the model holds %d",
        *(len(found.words), found.by_subwords, found.missing, found.zero, len(wv)),
    )
    facts = {
        "source": "fasttext_train",
        "model": f"fastText, trained on {Path(documents).name}",
        "licence": str(options.get("licence", "as the corpus says")),
        "normalisation": "none: raw values of the source",
        "training": json.dumps(how._asdict()),
        "corpus_words": str(trained.corpus_total_words),
        "digests": json.dumps({"documents": store.digest(documents), "tokenizer": store.digest(tokenizer)}),
        "versions": json.dumps(store.versions("gensim", "numpy")),
    }
    return fasttext_vectors.table(found, vocabulary, WHAT, facts)
