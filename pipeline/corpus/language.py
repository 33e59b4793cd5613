"""Stage: document shards to three parts, of which a language model trains on one, chooses on one and is tested on one.

Takes   the directory of document shards.
Makes   a directory with train, validation and test, each a directory of document shards of the same form.

Documents stay whole. Which part one belongs to is read off a digest of its identifier, so a corpus that grows moves
none of its documents; a text that has occurred before is left out, so no text is on two sides. Of 100 documents about
80 train, 10 validate and 10 test.
"""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import stage, store, token_column
from pipeline.corpus.documents import read_batches
from pipeline.stage import UserError

Array = np.ndarray

SHARES = {"train": 80, "validation": 10, "test": 10}  # of 100


def _number(text: str) -> int:
    """64 bits of the digest of a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def part_of(identifier: str) -> str:
    """The part of SHARES that a document belongs to."""
    place = _number(identifier) * 100 >> 64
    for part, share in SHARES.items():
        if place < share:
            return part
        place -= share
    raise AssertionError("shares that do not sum to 100")


def split(documents: str | Path, output: str | Path) -> dict[str, int]:
    """Write the documents of each part into `output`/<part>, a shard for each of `documents` that has some; returns
    how many documents each part has.

    Raises UserError for shards that cannot be read, and if a part would be empty.
    """
    counts = dict.fromkeys(SHARES, 0)
    seen: set[int] = set()
    with store.atomic_directory(output) as folder:
        for part in SHARES:
            (folder / part).mkdir()
        for shard in store.shards(documents):
            for part, count in _split_shard(shard, folder, seen).items():
                counts[part] += count
        if empty := [part for part, count in counts.items() if not count]:
            raise UserError(
                f"{documents}: none of its {sum(counts.values())} documents falls to {empty[0]}; a language model "
                "needs more of them (config: corpus.options), or leave it out (config: snn.networks)"
            )
    return counts


def _split_shard(shard: Path, folder: Path, seen: set[int]) -> dict[str, int]:
    """How many documents of a shard went to each part; texts that are `seen` go to none, the others become seen."""
    schema = store.open_parquet(shard).schema_arrow
    writers: dict[str, pq.ParquetWriter] = {}
    counts = dict.fromkeys(SHARES, 0)
    try:
        for batch in read_batches(shard, ["id", "text"]):
            rows = zip(batch.column("id").to_pylist(), batch.column("text").to_pylist(), strict=True)
            parts = np.array([part_of(name) if _is_new(text, seen) else "" for name, text in rows])
            for part in SHARES:
                chosen = pa.Table.from_batches([batch]).filter(pa.array(parts == part))
                if not len(chosen):
                    continue
                if part not in writers:
                    writers[part] = pq.ParquetWriter(folder / part / shard.name, schema, compression="zstd")
                writers[part].write_table(chosen.cast(schema))
                counts[part] += len(chosen)
    finally:
        for writer in writers.values():
            writer.close()
    return counts


def _is_new(text: str, seen: set[int]) -> bool:
    before = len(seen)
    seen.add(_number(text))
    return len(seen) > before


def documents(folder: str | Path) -> list[Array]:
    """The tokens of each document of token shards, int32 [n], in order, end-of-text last.

    Raises UserError for shards that are missing or damaged, as `token_column.check`, and for no token at all.
    """
    vocabulary, found = fact(folder, "vocabulary_size"), list[Array]()
    for shard in store.shards(folder):
        column = store.read_parquet(shard, ["tokens"])["tokens"].combine_chunks()
        found += token_column.rows(token_column.check(shard, column, vocabulary))
    if not any(map(len, found)):
        raise UserError(f"{folder}: its shards hold no tokens")
    return found


def fact(folder: str | Path, name: str) -> int:
    """A number that token shards say of themselves, `end_of_text` or `vocabulary_size`. Raises UserError without it."""
    shard = store.shards(folder)[0]
    value = (store.open_parquet(shard, ["tokens"]).schema_arrow.metadata or {}).get(name.encode())
    if value is None:
        raise UserError(f"{shard}: says nothing of {name}; tokens are written by pipeline.corpus.tokens")
    if not value.isdigit():
        raise UserError(f"{shard}: its {name} is {value.decode(errors='replace')!r}, not a whole number")
    return int(value)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--documents", required=True, help="directory of document shards")
    parser.add_argument("--output", required=True, help="directory of the parts to make")
    arguments = parser.parse_args(argv)
    counts = split(arguments.documents, arguments.output)
    stage.log.info("%s at %s", ", ".join(f"{n} documents to {part}" for part, n in counts.items()), arguments.output)


if __name__ == "__main__":
    sys.exit(stage.run(main))
