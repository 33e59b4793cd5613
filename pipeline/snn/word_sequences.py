"""Stage: documents and an embedding table to sequences of the table's words, by part.

Takes   a folder with train, validation and test (pipeline/corpus/language.py: parted by document), each of document
        shards `id, text`; an embedding table; tokenizer.json for its normaliser, as `vocabulary` takes it.
Makes   a folder with train.parquet, validation.parquet and test.parquet: `tokens: list<int32>`, a row a document, the
        rows of its words in the table in the order of the text, closed by n, the number of the table's words. A word
        that the table has not is left out; how many words were there and known is in the schema metadata.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline import stage, store, token_column
from pipeline.corpus.documents import read_texts
from pipeline.corpus.tokenizer import load
from pipeline.corpus.vocabulary import words
from pipeline.stage import UserError

PARTS = ("train", "validation", "test")


def numbered(text: str, rows: Mapping[str, int]) -> tuple[list[int], int]:
    """The rows of the known words of a normalised text, and how many words it has."""
    found = words(text)
    return [rows[word] for word in found if word in rows], len(found)


def part(documents: Path, tokenizer: Path, rows: Mapping[str, int]) -> pa.Table:
    """The sequences of a part's shards. Raises UserError, naming the folder, where no word is known."""
    normalizer = load(tokenizer).normalizer
    sequences, count, known = [], 0, 0
    for shard in store.shards(documents):
        for texts in read_texts(shard):
            for text in texts:
                found, here = numbered(normalizer.normalize_str(text) if normalizer else text, rows)
                sequences.append([*found, len(rows)])
                count, known = count + here, known + len(found)
    if not known:
        raise UserError(f"{documents}: none of its {count} words is in the embedding table")
    facts = {"running_words": str(count), "known_words": str(known), "words": str(len(rows))}
    return pa.table({"tokens": pa.array(sequences, pa.list_(pa.int32()))}).replace_schema_metadata(facts)


def read(path: str | Path, count: int) -> list[np.ndarray]:
    """The sequences of a file, int32, without their ends. Raises UserError, naming the file, if it was made for a table
    of another number of words than `count`, and the row too for a null and for a number that no word has."""
    table = store.read_parquet(path, ["tokens"])
    check(path, table.schema, count)
    column = token_column.check(path, table.column("tokens").combine_chunks())
    found = [row[:-1] for row in token_column.rows(column)]
    token_column.check(path, pa.array(found, column.type), count)
    return found


def check(path: str | Path, schema: pa.Schema, count: int) -> None:
    """Raises UserError, naming the file, if its word numbers are not those of a table of `count` words."""
    found = (schema.metadata or {}).get(b"words", b"unknown").decode()
    if found != str(count):
        raise UserError(f"{path}: its numbers are of a table of {found} words, and the table has {count}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--documents", type=Path, required=True, help="folder with train, validation and test")
    parser.add_argument("--embedding", type=Path, required=True, help="embedding table")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    rows = store.read_embedding(arguments.embedding).rows()
    with store.atomic_directory(arguments.output) as folder:
        for name in PARTS:
            table = part(arguments.documents / name, arguments.tokenizer, rows)
            store.write_parquet(
                folder / f"{name}.parquet", table, {"embedding_sha256": store.digest(arguments.embedding)}
            )
            facts = table.schema.metadata
            stage.log.info(
                "%s: %s of %s words known", name, *(facts[k].decode() for k in (b"known_words", b"running_words"))
            )


if __name__ == "__main__":
    sys.exit(stage.run(main))
