"""Documents from a Hugging Face dataset, streamed: OpenWebText by default.

`repository` is a name on the hub, a local folder, or a builder such as `parquet` together with `data_files`; so the
code that streams OpenWebText's Parquet files from the hub reads the same files from a disk.

A dataset is read file by file, so that a run can go on where an earlier one ended, and a damaged file can be named:
an identifier is `repository/split/<file number>:<row>`. Of `count` parts, part `index` reads every count-th file, from
`index` on; where there are fewer files than parts, it reads every count-th row of every file. Either is what
`datasets.distributed.split_dataset_by_node` gives, except that it, where parts do not divide the files, reads every
file in every part.

Faults of the network (no connection, time-out, 408, 429, 5xx, a body cut short) are tried again after 1, 2, 4 ... 60
seconds, at most `retries` times in a row; reading goes on at the row where it stopped. The libraries below try again
too, before they report a fault. `on_error: skip` leaves out the rest of a damaged file, and says so; what cannot be
reached is no damaged file, and always ends the run.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from pipeline import stage
from pipeline.corpus import streamed_parquet
from pipeline.corpus.files import text_of
from pipeline.corpus.source import ON_ERROR, Document, Skipped
from pipeline.stage import UserError

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
NETWORK_LIBRARIES = {"aiohttp", "fsspec", "httpcore", "httpx", "httpx2", "huggingface_hub", "requests", "urllib3"}
TRY_AGAIN = {408, 429}  # HTTP statuses below 500


@dataclass(frozen=True)
class Source:
    """Rows of `split`, in the dataset's order; the text is in `text_field`."""

    repository: str = "Skylion007/openwebtext"
    split: str = "train"
    text_field: str = "text"
    config: str | None = None
    revision: str | None = None
    data_files: str | list[str] | None = None
    on_error: str = "fatal"
    retries: int = 8

    REQUIRED: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        what = "corpus source 'huggingface'"
        for key in ("repository", "split", "text_field"):
            if not isinstance(getattr(self, key), str):
                raise UserError(f"{what}: {key} must be a string, not {getattr(self, key)!r}")
        if self.on_error not in ON_ERROR:
            raise UserError(f"{what}: on_error is {self.on_error!r}; known are {', '.join(ON_ERROR)}")
        if type(self.retries) is not int or self.retries < 0:
            raise UserError(f"{what}: retries must be a whole number from 0 on, not {self.retries!r}")

    def __iter__(self) -> Iterator[Document | Skipped]:
        return iter(self.part(0, 1))

    def part(self, index: int, count: int) -> "Part":
        """Part `index` of `count`: together they are all rows, each once."""
        return Part(self, index, count)

    def after(self, identifier: str) -> Iterator[Document | Skipped]:
        """What follows the document `identifier`."""
        return self.part(0, 1).after(identifier)

    def files(self) -> list[str]:
        """The dataset's files, a hub's with its commit, local ones with their size."""
        return self.part(0, 1).files()

    @property
    def name(self) -> str:
        return f"{self.repository}/{self.split}"

    def facts(self) -> dict[str, str]:
        return {
            "source": f"huggingface: {self.repository}, split {self.split}",
            "licence": "as the dataset's card states; OpenWebText: CC0 packaging, the pages are their authors'",
            "revision": self.revision or "as of this run",
        }


@dataclass(frozen=True)
class Part:
    """Every `count`-th file (or row, see above) of a source, from `index` on."""

    source: Source
    index: int
    count: int

    def __iter__(self) -> Iterator[Document | Skipped]:
        return self._documents(0, 0)

    def after(self, identifier: str) -> Iterator[Document | Skipped]:
        """What follows the document `identifier` in this part. Raises UserError for an identifier of another source."""
        try:
            file, row = map(int, identifier.removeprefix(f"{self.source.name}/").split(":"))
        except ValueError:
            raise UserError(f"{identifier}: no document of the Hugging Face dataset {self.source.name}") from None
        return self._documents(file, row)

    def facts(self) -> dict[str, str]:
        return {**self.source.facts(), "part": f"{self.index} of {self.count}"}

    def files(self) -> list[str]:
        """The dataset's files, a hub's with its commit, local ones with their size. Raises as reading does."""
        names = self._opened[1]
        return [f"{name} ({os.path.getsize(name)} bytes)" if os.path.exists(name) else name for name in names]

    @cached_property
    def _opened(self) -> tuple[Any, list[str]]:
        return _Trials(self.source).run(f"{self.source.name}: cannot be opened", lambda: _open(self.source))

    def _documents(self, file: int, row: int) -> Iterator[Document | Skipped]:
        """The documents from file number `file` on, its first `row` rows (counted from 1) left out."""
        rows, names = self._opened
        whole_files = rows.num_shards >= self.count
        for number in range(rows.num_shards):
            if number < file or (whole_files and number % self.count != self.index):
                continue
            try:
                yield from self._file(rows, number, names[number], row if number == file else 0, whole_files)
            except UnreachableError:
                raise
            except UserError as error:
                if self.source.on_error == "fatal":
                    raise
                yield Skipped(names[number], str(error))

    def _file(self, rows: Any, number: int, name: str, done: int, whole: bool) -> Iterator[Document]:
        """The documents of one file behind its first `done` rows; after a fault of the network it goes on behind those
        that it had."""
        step, first = (1, 1) if whole else (self.count, self.index + 1)
        trials = _Trials(self.source)
        while True:
            read = max(0, done - first + step) // step  # of this part's rows in this file
            try:
                for row in self._rows(rows, number, whole, read * step):
                    done = first + read * step
                    read += 1
                    trials.succeeded()
                    yield Document(
                        f"{self.source.name}/{number}:{done}",
                        text_of(row, self.source.text_field, f"{name}: row {done}"),
                    )
                return
            except (UserError, GeneratorExit):
                raise
            except Exception as error:  # the readers, the file system and the network have their own errors
                trials.failed(f"{name}: after row {done}", error)

    def _rows(self, rows: Any, number: int, whole: bool, skipped: int) -> Any:
        """This part's rows of one file behind its first `skipped`. (`datasets` skips before it divides.)"""
        from datasets.distributed import split_dataset_by_node

        one = rows.shard(rows.num_shards, number)
        return (one if whole else split_dataset_by_node(one, self.index, self.count)).skip(skipped)


def _open(source: Source) -> tuple[Any, list[str]]:
    """The dataset, streaming, and the names of its files."""
    import datasets  # seconds: only where it is used

    builder = datasets.load_dataset_builder(
        source.repository, source.config, revision=source.revision, data_files=source.data_files
    )
    streamed_parquet.read_in_order(builder)
    rows = builder.as_streaming_dataset(split=source.split)
    files = [str(name) for name in (builder.config.data_files or {}).get(source.split, [])]
    if len(files) != rows.num_shards:  # archives hold several
        files = [f"{source.name}, file {number}" for number in range(rows.num_shards)]
    return rows, files


class UnreachableError(UserError):
    """The network or the hub, not what was read: no reason to leave a file out."""


class _Trials:
    """Waits between failures in a row, and gives up after too many, or at once where waiting cannot help."""

    def __init__(self, source: Source) -> None:
        self.allowed, self.failures = source.retries, 0

    def succeeded(self) -> None:
        self.failures = 0

    def failed(self, where: str, error: Exception) -> None:
        """Wait, if trying again may help. Raises UserError that opens with `where` if not: UnreachableError, where it
        was the network or the hub, not what was read."""
        reason = f"{type(error).__name__}: {error}"
        if not transient(error):
            kind = UnreachableError if _of_the_network(_links(error)) else UserError
            raise kind(f"{where}: {reason}") from None
        if self.failures == self.allowed:
            raise UnreachableError(f"{where}: {self.failures} tries again did not help ({reason})") from None
        wait_s = min(FIRST_WAIT_S * 2**self.failures, LONGEST_WAIT_S)
        self.failures += 1
        stage.log.warning("%s: %s; try %d of %d in %.0f s", where, reason, self.failures, self.allowed, wait_s)
        time.sleep(wait_s)

    def run(self, where: str, work: Any) -> Any:
        """What `work` returns at the first success."""
        while True:
            try:
                return work()
            except Exception as error:
                self.failed(where, error)


def transient(error: BaseException) -> bool:
    """Whether a failure is the network's, so that the same request may succeed later.

    That is decided by the error and those behind it: a refusal of the server (401, 404 ...) and the offline mode are
    final, whatever wraps them.
    """
    links = _links(error)
    if any(type(one).__name__ == "OfflineModeIsEnabled" for one in links) or "OfflineModeIsEnabled" in str(error):
        return False
    statuses = [getattr(getattr(one, "response", None), "status_code", None) for one in links]
    known = [status for status in statuses if isinstance(status, int)]
    if known:
        return all(status >= 500 or status in TRY_AGAIN for status in known)
    return _of_the_network(links)


def _links(error: BaseException) -> list[BaseException]:
    """An error and those behind it."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


def _of_the_network(links: list[BaseException]) -> bool:
    return any(
        isinstance(one, ConnectionError | TimeoutError) or type(one).__module__.partition(".")[0] in NETWORK_LIBRARIES
        for one in links
    )
