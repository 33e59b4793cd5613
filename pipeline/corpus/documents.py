"""Stage: a corpus source to document shards.

Takes   a source by name (packaged, files, huggingface) and its options as JSON; which part of how many, if not all.
Makes   a directory of shard-00000.parquet, shard-00001.parquet ...: columns `id: string` and `text: string`, a row a
        document in the source's order, facts about the source in the schema metadata; and skipped.json, the damaged
        files that `on_error: skip` left out, if there are any.

Documents are streamed: no more than a row group of text is in memory. Of the text only the white space is changed:
runs of spaces become one, lines are trimmed, several blank lines become one. Documents without text are left out.

A source that costs hours (huggingface) goes on behind the last whole shard of a run that was killed or failed; the
shards wait in .<directory>.unfinished beside their place. The result is that of an undisturbed run.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import stage, store
from pipeline.corpus.source import SOURCES, Document, Skipped, Source, after, files_of, open_source, resumable
from pipeline.stage import UserError

ROW_GROUP_BYTES = 1 << 20  # of UTF-8 text

# \s knows Unicode's spaces, such as the no-break and the ideographic one, and old separators that count as controls.
_LINE_END = re.compile(r"\r\n|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")
# Nearly all spaces are single already; patterns that pass those over are several times as fast.
_SPACES = re.compile(r"(?: [^\S\n]|[^\S\n ])[^\S\n]*")
_AROUND_LINE_END = re.compile(r" \n ?|\n ")
_BLANK_LINES = re.compile(r"\n{3,}")


def tidy_space(text: str) -> str:
    """`text` with all line ends as \\n, runs of spaces as one, lines trimmed and at most one blank line at a time."""
    text = _SPACES.sub(" ", _LINE_END.sub("\n", text))
    return _BLANK_LINES.sub("\n\n", _AROUND_LINE_END.sub("\n", text)).strip()


class Progress(NamedTuple):
    """What is done of a source: whole `shards` with `documents` rows, `read` documents of the source up to the one with
    identifier `last`, and the files `skipped` (where, why)."""

    shards: int = 0
    documents: int = 0
    read: int = 0
    last: str = ""
    skipped: tuple[Skipped, ...] = ()


class RowGroup(NamedTuple):
    """Identifiers and texts that are written together; `read` documents were read up to the last of them."""

    shard: int
    ids: list[str]
    texts: list[str]
    read: int


def write_documents(
    documents: Iterable[Document | Skipped],
    output: str | Path,
    shard_bytes: int,
    facts: Mapping[str, str] | None = None,
    may_be_empty: bool = False,
) -> int:
    """Write documents as Parquet shards of about `shard_bytes` of UTF-8 text each; returns how many there were.

    Raises UserError if there is no text at all, unless it `may_be_empty`.
    """
    with store.atomic_directory(output) as folder:
        done = _write_shards(documents, folder, shard_bytes, facts or {}, Progress(), lambda progress: None)
        _finish(folder, done, facts or {}, may_be_empty)
    return done.documents


def write_source(
    source: Source,
    output: str | Path,
    shard_bytes: int,
    options: Mapping[str, Any] | None = None,
    may_be_empty: bool = False,
) -> int:
    """`write_documents` for a resumable source: goes on behind the last whole shard of an earlier, unfinished run.

    An unfinished run of another source, of other files, `options` or shard size is started afresh; one that is still at
    work (its workflow was killed) is waited for. Raises UserError as the source does; what is whole by then is kept.
    """
    output = Path(output)
    with store.locked(output.with_name(f".{output.name}.lock"), str(output)):
        return _write_source(source, output, shard_bytes, options or {}, may_be_empty)


def _write_source(
    source: Source, output: Path, shard_bytes: int, options: Mapping[str, Any], may_be_empty: bool
) -> int:
    folder = output.with_name(f".{output.name}.unfinished")
    state, facts = folder / "progress.json", source.facts()
    what = {"shard_bytes": shard_bytes, "facts": facts, "options": dict(options), "files": files_of(source)}
    done = _read_progress(state, what)
    if done == Progress():
        shutil.rmtree(folder, ignore_errors=True)
        items = iter(source)
    else:
        stage.log.info("going on behind %d whole shards, %d documents", done.shards, done.documents)
        items = after(source, done.last, done.read)

    def keep(progress: Progress) -> None:
        store.write_json(state, {**what, "done": progress._asdict()})

    counted = stage.progress(items, "documents", unit=" documents")
    done = _write_shards(counted, folder, shard_bytes, facts, done, keep)
    if not done.documents:
        shutil.rmtree(folder, ignore_errors=True)
        if may_be_empty:
            folder.mkdir(parents=True)
    _finish(folder, done, facts, may_be_empty)
    _check_whole(folder, done)
    state.unlink(missing_ok=True)
    if output.exists():
        shutil.rmtree(output)
    os.replace(folder, output)
    return done.documents


def _read_progress(state: Path, what: Mapping[str, Any]) -> Progress:
    """What an unfinished run of the same work has done; nothing, if there is none."""
    if not state.exists():
        return Progress()
    found = store.read_json(state)
    if {key: found.get(key) for key in what} != what:
        return Progress()
    return Progress(**{**found["done"], "skipped": tuple(Skipped(*one) for one in found["done"]["skipped"])})


def _write_shards(
    items: Iterable[Document | Skipped],
    folder: Path,
    shard_bytes: int,
    facts: Mapping[str, str],
    done: Progress,
    keep: Callable[[Progress], None],
) -> Progress:
    """Write the shards that follow `done`, each whole or not at all, and `keep` how far it is after each."""
    schema = pa.schema({"id": pa.string(), "text": pa.string()}, metadata=dict(facts))
    skipped = {one.where: one for one in done.skipped}
    for shard, groups in groupby(_row_groups(items, shard_bytes, done, skipped), key=lambda group: group.shard):
        with (
            store.atomic_file(folder / store.shard_name(shard)) as path,
            pq.ParquetWriter(path, schema, compression="zstd") as writer,
        ):
            for group in groups:
                writer.write_table(pa.table({"id": group.ids, "text": group.texts}, schema=schema))
                pa.default_memory_pool().release_unused()
                done = Progress(shard + 1, done.documents + len(group.ids), group.read, group.ids[-1])
        done = done._replace(skipped=tuple(skipped.values()))
        keep(done)
    return done._replace(skipped=tuple(skipped.values()))


def _check_whole(folder: Path, done: Progress) -> None:
    """Raises UserError where the shards are not all that were written, for instance because somebody took one away."""
    names = [store.shard_name(number) for number in range(done.shards)]
    found = sorted(path.name for path in folder.glob("shard-*.parquet"))
    rows = sum(store.open_parquet(folder / name).metadata.num_rows for name in found)
    if found != names or rows != done.documents:
        raise UserError(
            f"{folder}: {len(found)} shards of {rows} documents, not {done.shards} of {done.documents}; "
            "remove it and run again"
        )


def _finish(folder: Path, done: Progress, facts: Mapping[str, str], may_be_empty: bool) -> None:
    """Say what was skipped. Raises UserError, naming the source, where nothing is left."""
    for one in done.skipped:
        stage.log.warning("skipped %s (%s)", one.where, one.reason)
    if not done.documents and not may_be_empty:
        raise UserError(f"the corpus is empty: {facts.get('source', 'its source')} holds no document with any text")
    if done.skipped:
        stage.log.warning("%d damaged file%s skipped", len(done.skipped), "s" * (len(done.skipped) != 1))
        store.write_json(folder / "skipped.json", [one._asdict() for one in done.skipped])


def _row_groups(
    items: Iterable[Document | Skipped], shard_bytes: int, done: Progress, skipped: dict[str, Skipped]
) -> Iterator[RowGroup]:
    """One row group after another, from shard `done.shards` on; documents without text are left out.

    A shard ends before the document that would take it over `shard_bytes`; a larger document has a shard to itself.
    """
    shard, read = done.shards, done.read
    shard_text = group_text = last = 0
    ids: list[str] = []
    texts: list[str] = []
    for item in items:
        if isinstance(item, Skipped):
            skipped[item.where] = item
            continue
        read += 1
        if not (text := tidy_space(item.text)):
            continue
        size = len(text.encode())
        shard_ends = shard_text > 0 and shard_text + size > shard_bytes
        if texts and (shard_ends or group_text >= ROW_GROUP_BYTES):
            yield RowGroup(shard, ids, texts, last)
            ids, texts, group_text = [], [], 0
        if shard_ends:
            shard, shard_text = shard + 1, 0
        ids.append(item.id)
        texts.append(text)
        last = read
        shard_text += size
        group_text += size
    if texts:
        yield RowGroup(shard, ids, texts, last)


def read_texts(shard: Path, rows: int = 512) -> Iterator[list[str]]:
    """The texts of a document shard, some rows at a time. Raises UserError, naming the file, if it is damaged."""
    for batch in read_batches(shard, ["text"], rows):
        yield batch.column("text").to_pylist()


def read_batches(shard: Path, columns: Sequence[str], rows: int = 512) -> Iterator[pa.RecordBatch]:
    """Record batches of a shard with the columns asked for. Raises UserError as `read_texts`."""
    with store.open_parquet(shard, columns) as file:
        try:
            for batch in file.iter_batches(rows, columns=list(columns)):
                batch.validate(full=True)  # that strings are UTF-8, too
                yield batch
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{shard}: damaged Parquet file ({error})") from None


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--source", default="packaged", help=f"one of {', '.join(SOURCES)}")
    parser.add_argument("--options", default="{}", type=stage.options, help="the source's options, a JSON object")
    parser.add_argument("--shard-bytes", type=int, default=1 << 28, help="UTF-8 text in a shard, about; in bytes")
    parser.add_argument("--part", type=int, default=0, help="which part of the source, from 0")
    parser.add_argument("--parts", type=int, default=1, help="how many parts there are, each a run of its own")
    parser.add_argument("--output", required=True, help="directory of shards to write")
    arguments = parser.parse_args(argv)
    if arguments.shard_bytes < 1:
        raise UserError(f"--shard-bytes must be at least 1, not {arguments.shard_bytes}")
    source = open_source(arguments.source, arguments.options, arguments.part, arguments.parts)
    several = arguments.parts > 1  # of several parts one may be empty
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps what it once had, whatever is in use
    if resumable(source):
        count = write_source(source, arguments.output, arguments.shard_bytes, arguments.options, several)
    else:
        facts = source.facts()
        documents = stage.progress(source, "documents", unit=" documents")
        count = write_documents(documents, arguments.output, arguments.shard_bytes, facts, several)
    shards = len(list(Path(arguments.output).glob("shard-*.parquet")))
    stage.log.info("%d documents in %d shard%s at %s", count, shards, "s" * (shards != 1), arguments.output)


if __name__ == "__main__":
    sys.exit(stage.run(main))
