"""Stage: a corpus source to document shards.

Takes   a source by name (packaged, files, huggingface) and its options as JSON.
Makes   a directory of shard-00000.parquet, shard-00001.parquet ...: columns `id: string` and `text: string`, a row a
        document in the source's order, facts about the source in the schema metadata.

Documents are streamed: no more than a row group of text is in memory. Of the text only the white space is changed:
runs of spaces become one, lines are trimmed, several blank lines become one. Documents without text are left out.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import stage, store
from pipeline.corpus.source import SOURCES, Document, open_source
from pipeline.stage import UserError

ROW_GROUP_BYTES = 4 << 20  # of UTF-8 text

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


def write_documents(
    documents: Iterable[Document], output: str | Path, shard_bytes: int, facts: Mapping[str, str] | None = None
) -> int:
    """Write documents as Parquet shards of about `shard_bytes` of UTF-8 text each; returns how many there were.

    Raises UserError if there is no text at all.
    """
    schema = pa.schema({"id": pa.string(), "text": pa.string()}, metadata=dict(facts or {}))
    count = 0
    with store.atomic_directory(output) as folder:
        for shard, groups in groupby(_row_groups(documents, shard_bytes), key=itemgetter(0)):
            with pq.ParquetWriter(folder / store.shard_name(shard), schema, compression="zstd") as writer:
                for _, ids, texts in groups:
                    writer.write_table(pa.table({"id": ids, "text": texts}, schema=schema))
                    count += len(ids)
        if not count:
            raise UserError("the corpus is empty: its source holds no document with any text")
    return count


def _row_groups(documents: Iterable[Document], shard_bytes: int) -> Iterator[tuple[int, list[str], list[str]]]:
    """Shard number, identifiers and texts of one row group after another; documents without text are left out.

    A shard ends before the document that would take it over `shard_bytes`; a larger document has a shard to itself.
    """
    shard = shard_text = group_text = 0
    ids: list[str] = []
    texts: list[str] = []
    for identifier, raw in documents:
        if not (text := tidy_space(raw)):
            continue
        size = len(text.encode())
        shard_ends = shard_text > 0 and shard_text + size > shard_bytes
        if texts and (shard_ends or group_text >= ROW_GROUP_BYTES):
            yield shard, ids, texts
            ids, texts, group_text = [], [], 0
        if shard_ends:
            shard, shard_text = shard + 1, 0
        ids.append(identifier)
        texts.append(text)
        shard_text += size
        group_text += size
    if texts:
        yield shard, ids, texts


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
    parser.add_argument("--output", required=True, help="directory of shards to write")
    arguments = parser.parse_args(argv)
    if arguments.shard_bytes < 1:
        raise UserError(f"--shard-bytes must be at least 1, not {arguments.shard_bytes}")
    source = open_source(arguments.source, arguments.options)
    facts = source.facts()
    documents = stage.progress(source, "documents", unit=" documents")
    count = write_documents(documents, arguments.output, arguments.shard_bytes, facts)
    shards = len(store.shards(arguments.output))
    stage.log.info("%d documents in %d shard%s at %s", count, shards, "s" * (shards != 1), arguments.output)


if __name__ == "__main__":
    sys.exit(stage.run(main))
