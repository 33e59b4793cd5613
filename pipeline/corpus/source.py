"""Where documents come from: one interface, one file a source, opened by name.

A source is anything that can be iterated, more than once and always in the same order, over `Document`s, and that can
say where they come from. `open_source` imports only the file that is asked for, since `huggingface` costs seconds.

A source may do two things more, which are protocols of their own: be read in parts, side by side (`Divisible`; of any
other source a part is every n-th document), and go on behind a document that it gave before (`Resumable`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, NamedTuple, Protocol, runtime_checkable

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


class Skipped(NamedTuple):
    """What `on_error: skip` left out: (the rest of) a file, and why."""

    where: str
    reason: str


ON_ERROR = ("fatal", "skip")


class Source(Protocol):
    def __iter__(self) -> Iterator[Document | Skipped]: ...

    def facts(self) -> dict[str, str]:
        """Name, licence and digests (or revision) of what is read, for the metadata of what is made from it."""
        ...


@runtime_checkable
class Divisible(Protocol):
    def part(self, index: int, count: int) -> Source:
        """Part `index` of `count`; together they hold every document once."""
        ...


@runtime_checkable
class Resumable(Protocol):
    def files(self) -> list[str]:
        """What is read, by name and version: a run goes on only over the same."""
        ...

    def after(self, identifier: str) -> Iterator[Document | Skipped]:
        """What follows the document with this identifier."""
        ...


@dataclass(frozen=True)
class EveryNth:
    """The documents index, index + count, index + 2 count ... of a source that cannot be read in parts itself."""

    source: Source
    index: int
    count: int

    def __iter__(self) -> Iterator[Document | Skipped]:
        number = 0
        for item in self.source:
            if isinstance(item, Skipped):
                yield item
                continue
            if number % self.count == self.index:
                yield item
            number += 1

    def facts(self) -> dict[str, str]:
        return {**self.source.facts(), "part": f"{self.index} of {self.count}"}


@dataclass(frozen=True)
class Limited:
    """The first `limit` documents of a source."""

    source: Source
    limit: int

    def __iter__(self) -> Iterator[Document | Skipped]:
        return at_most(iter(self.source), self.limit)

    def facts(self) -> dict[str, str]:
        return {**self.source.facts(), "limit": str(self.limit)}


def resumable(source: Source) -> bool:
    """Whether `after` can go on in the middle of this source."""
    return isinstance(source.source if isinstance(source, Limited) else source, Resumable)


def after(source: Source, identifier: str, read: int) -> Iterator[Document | Skipped]:
    """What follows the document `identifier` of a resumable source, up to which `read` documents were read."""
    inner = source.source if isinstance(source, Limited) else source
    if not isinstance(inner, Resumable):
        raise TypeError(f"{type(inner).__module__} cannot go on in the middle")
    items = inner.after(identifier)
    return at_most(items, source.limit - read) if isinstance(source, Limited) else items


def files_of(source: Source) -> list[str]:
    """The names and versions of what a resumable source reads."""
    inner = source.source if isinstance(source, Limited) else source
    return inner.files() if isinstance(inner, Resumable) else []


def at_most(items: Iterator[Document | Skipped], limit: int) -> Iterator[Document | Skipped]:
    """The first `limit` documents, and what is skipped between them."""
    while limit > 0 and (item := next(items, None)) is not None:
        limit -= isinstance(item, Document)
        yield item


def open_source(name: str, options: Mapping[str, Any], part: int = 0, parts: int = 1) -> Source:
    """The source `name`, set up with `options`; every source has the option `limit`, a maximum number of documents.

    Of several `parts` it is the one with number `part`, and has its share of the limit. Raises UserError for an unknown
    name or option, a missing option and a value that cannot be.
    """
    if name not in SOURCES:
        raise UserError(f"corpus source {name!r} is unknown; known are {', '.join(SOURCES)}")
    if not 0 <= part < parts:
        raise UserError(f"corpus: there is no part {part} of {parts} parts; they are numbered from 0")
    kind = import_module(SOURCES[name]).Source
    known = [field.name for field in fields(kind)]
    stage.check_keys(f"corpus source {name!r}", options, [*known, "limit"], getattr(kind, "REQUIRED", ()))
    limit = options.get("limit")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise UserError(f"corpus source {name!r}: limit must be a whole number of documents from 1 on, not {limit!r}")
    source: Source = kind(**{key: value for key, value in options.items() if key != "limit"})
    if parts > 1:
        source = source.part(part, parts) if isinstance(source, Divisible) else EveryNth(source, part, parts)
    return source if limit is None else Limited(source, limit // parts + (part < limit % parts))
