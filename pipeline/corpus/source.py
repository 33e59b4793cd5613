"""Where documents come from: one interface, one file a source, opened by name.

A source is anything that can be iterated, more than once and always in the same order, over `Document`s, and that can
say where they come from. `open_source` imports only the file that is asked for, since `huggingface` costs seconds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from itertools import islice
from typing import Any, NamedTuple, Protocol

from pipeline import stage
from pipeline.stage import UserError

# Each module has a dataclass `Source`; its fields are the source's options.
SOURCES = {
    "packaged": "pipeline.corpus.packaged",
    "files": "pipeline.corpus.files",
    "huggingface": "pipeline.corpus.huggingface",
}


class Document(NamedTuple):
    """`id` is unique in its source and the same in every run; `text` is as the source holds it."""

    id: str
    text: str


class Source(Protocol):
    def __iter__(self) -> Iterator[Document]: ...

    def facts(self) -> dict[str, str]:
        """Name, licence and digests (or revision) of what is read, for the metadata of what is made from it."""
        ...


@dataclass(frozen=True)
class Limited:
    """The first `limit` documents of a source."""

    source: Source
    limit: int

    def __iter__(self) -> Iterator[Document]:
        return islice(iter(self.source), self.limit)

    def facts(self) -> dict[str, str]:
        return {**self.source.facts(), "limit": str(self.limit)}


def open_source(name: str, options: Mapping[str, Any]) -> Source:
    """The source `name`, set up with `options`; every source has the option `limit`, a maximum number of documents.

    Raises UserError for an unknown name or option, a missing option and a value that cannot be.
    """
    if name not in SOURCES:
        raise UserError(f"corpus source {name!r} is unknown; known are {', '.join(SOURCES)}")
    kind = import_module(SOURCES[name]).Source
    known = [field.name for field in fields(kind)]
    stage.check_keys(f"corpus source {name!r}", options, [*known, "limit"], getattr(kind, "REQUIRED", ()))
    limit = options.get("limit")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise UserError(f"corpus source {name!r}: limit must be a whole number of documents from 1 on, not {limit!r}")
    source = kind(**{key: value for key, value in options.items() if key != "limit"})
    return source if limit is None else Limited(source, limit)
