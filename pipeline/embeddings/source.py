"""Where embeddings come from: one module a source, found by name and imported only when it is asked for.

Each module has one function,

    read(vocabulary: Vocabulary | None, options: dict, device: str) -> EmbeddingTable

which gives the raw float32 values of the source for the words of the vocabulary that it has, in the vocabulary's order
(None: all words it has), with facts: `source, model, licence, normalisation, digests, versions` and counts of the words
that were dropped. It raises UserError for unknown options and for bad input. A module may have two more:

    check(options)                        raises UserError for options that cannot be; reads nothing
    plan(vocabulary, options) -> str      what `read` would be asked for and cost, in a line; sends and writes nothing
"""

import re
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, check_embedding

SOURCES = {
    "fasttext_binary": "pipeline.embeddings.fasttext_binary",
    "fasttext_train": "pipeline.embeddings.fasttext_train",
    "npy": "pipeline.embeddings.npy",
    "openai": "pipeline.embeddings.openai_endpoint",
    "parquet": "pipeline.embeddings.parquet",
    "sentence_transformers": "pipeline.embeddings.sentence",
    "skipgram": "pipeline.embeddings.skipgram",
    "spacy_md": "pipeline.embeddings.spacy_md",
    "word2vec_binary": "pipeline.embeddings.word2vec_binary",
    "word2vec_text": "pipeline.embeddings.word2vec_text",
}

DEVICES = ("auto", "cpu", "cuda")  # those of stage.device

# A name is a promise of what the table really is. Other names are free.
ANY_FILE = ("word2vec_text", "word2vec_binary", "npy", "parquet")
RESERVED = {
    "ada": ("openai", *ANY_FILE),
    "fasttext": ("fasttext_binary", "fasttext_train", *ANY_FILE),
    "minilm": ("sentence_transformers",),
    "spacy_md": ("spacy_md",),
}
ADA = "text-embedding-ada-002"
DIMENSIONS = {"ada": 1536, "fasttext": 300}


def check_name(name: str, source: str, options: Mapping[str, Any]) -> None:
    """Refuse a name that says something else than what the table is. Raises UserError.

    `fasttext` and `ada` are for the real ones (of an endpoint's models, text-embedding-ada-002 alone), `minilm` for the
    packaged all-MiniLM-L6-v2 (so no option `model`).
    A name becomes a file name, and `+` joins the names of a concatenation: letters, digits, `_`, `-` and `.` it is.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise UserError(f"embedding name {name!r}: letters, digits, '_', '-' and '.' only, a letter or digit first")
    if name in RESERVED and source not in RESERVED[name]:
        allowed = " or ".join(map(repr, RESERVED[name]))
        raise UserError(f"embedding name {name!r} is reserved for source {allowed}, not {source!r}")
    if name == "ada" and source == "openai" and (model := options.get("model")) != ADA:
        raise UserError(f"embedding name 'ada' is reserved for the model {ADA!r}, not {model!r}")
    if name == "minilm" and "model" in options:
        raise UserError(
            "embedding name 'minilm' is reserved for the packaged model: leave out option 'model' or rename"
        )


def check_dimensions(name: str, dims: int) -> None:
    """Refuse a table called `fasttext` or `ada` that has not the dimensions of the real one. Raises UserError.

    Of a file in word2vec's text format that is what can be checked: it does not say which model it comes from, and any
    300 values could be called `fasttext`.
    """
    if dims != DIMENSIONS.get(name, dims):
        raise UserError(f"embedding name {name!r}: the real one has {DIMENSIONS[name]} dimensions, not {dims}; rename")


def module(source: str) -> ModuleType:
    """The module of a source. Raises UserError for an unknown one."""
    if source not in SOURCES:
        raise UserError(f"unknown embedding source {source!r}; known are {', '.join(sorted(SOURCES))}")
    return import_module(SOURCES[source])


def check_options(source: str, options: dict[str, Any]) -> None:
    """Refuse what can be refused before anything is read. Raises UserError that names the option."""
    if hasattr(found := module(source), "check"):
        found.check(options)


def check_vocabulary(name: str, source: str, options: Mapping[str, Any], all_words: bool, within: bool) -> None:
    """Refuse an embedding that is asked for words that it cannot have, or for all where it has any.

    Raises UserError that names the embedding.
    """
    where = f"config: embeddings.{name}"
    numbered = (source == "npy" and options.get("words") is None) or (
        source == "parquet" and options.get("word", "word") is None
    )
    if all_words and source in ("openai", "sentence_transformers"):
        raise UserError(f"{where}: vocabulary: {source} has a vector for every string, so `all` cannot be asked for")
    if all_words and within:
        raise UserError(f"{where}: within: is for the words of the corpus, not for vocabulary: all")
    if numbered and not all_words:
        raise UserError(f"{where}: its rows have no words; put `vocabulary: all` beside `source`")


def read(source: str, vocabulary: Vocabulary | None, options: dict[str, Any], device: str = "cpu") -> EmbeddingTable:
    """The table of a source, checked.

    Raises UserError for an unknown source, a bad device name, bad options, or an unusable row.

    Every source refuses a bad device name, also one that computes nothing.
    """
    if device not in DEVICES:
        raise UserError(f"device: {device!r} is not one of {', '.join(DEVICES)}")
    table: EmbeddingTable = module(source).read(vocabulary, options, device)
    return check_embedding(table, f"embedding source {source}")
