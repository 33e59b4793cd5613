"""How the memory of the corpus stage grows with the corpus: its peak over a small text and over a hundred times more.

Each run is the stage `pipeline.corpus.documents` in a process of its own, over JSON lines as a user has them and over
Parquet files streamed as from the hub. There is no other program in these rows: `peer` is the stage itself on the small
text, so a ratio of 1 means that memory does not grow at all.

Takes   the two sizes of text.
Makes   a CSV: what, size, unit, ours (peak MiB over the large text), peer, peer_value (over the small), ratio.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from performance.measurement import row, write_rows
from pipeline import stage
from pipeline.stage import UserError

MEGABYTE = 1_000_000
FILE_MEGABYTES = 100  # text in one Parquet file, about what the hub's have
PROGRAM = (
    "import resource, sys; from pipeline import stage; from pipeline.corpus import documents;"
    "assert not stage.run(documents.main); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
)


def texts() -> list[str]:
    """Documents of one to ten kilobytes, together a megabyte."""
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdefghijklmnopqrstuvwxyz"), length)) for length in range(2, 12)] * 20
    found: list[str] = []
    while sum(map(len, found)) < MEGABYTE:
        found.append(" ".join(random.choice(words, random.integers(200, 2000))))
    return found


def write_corpora(folder: Path, megabytes: int) -> dict[str, tuple[str, dict[str, object]]]:
    """Write the same text in both forms; their source and options by name."""
    once = texts()
    lines = folder / f"{megabytes}.jsonl"
    with open(lines, "w", encoding="utf-8") as file:
        block = "".join(json.dumps({"text": text}) + "\n" for text in once)
        for _ in range(megabytes):
            file.write(block)
    parquet = folder / f"{megabytes}.parquet.d"
    parquet.mkdir()
    schema = pa.schema({"text": pa.string()})
    for first in range(0, megabytes, FILE_MEGABYTES):
        with pq.ParquetWriter(parquet / f"train-{first:05d}.parquet", schema) as writer:
            for _ in range(first, min(first + FILE_MEGABYTES, megabytes)):
                writer.write_table(pa.table({"text": once}, schema=schema))
    return {
        "files, JSON lines": ("files", {"paths": str(lines)}),
        "huggingface, Parquet": ("huggingface", {"repository": str(parquet)}),
    }


def peak_mebibytes(source: str, options: dict[str, object], shard_bytes: int) -> float:
    """The most memory that the stage's process held."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--source", source, "--options", json.dumps(options), "--shard-bytes", str(shard_bytes)]
        command = [sys.executable, "-c", PROGRAM, *arguments, "--output", f"{folder}/documents"]
        return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout) / 1024


def measure(small: int, large: int, shard_bytes: int, runs: int) -> list[dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        corpora = [write_corpora(Path(folder), megabytes) for megabytes in (large, small)]
        found = []
        for name in corpora[0]:
            turns = [[peak_mebibytes(*of_size[name], shard_bytes) for of_size in corpora] for _ in range(runs)]
            most, least = (statistics.median(side) for side in zip(*turns, strict=True))
            what, peer = f"peak memory of the corpus stage, {name}", f"the same stage, {small} MB of text"
            found.append(row(what, f"{large} MB of text", "MiB", most, peer, least, 1, less=True))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--small", type=int, default=10, help="megabytes of text")
    parser.add_argument("--large", type=int, default=1000, help="megabytes of text")
    parser.add_argument("--shard-bytes", type=int, default=256 * MEGABYTE, help="text in a shard, as config has it")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; peaks hardly vary")
    parser.add_argument("--output", required=True, help="CSV file to write")
    arguments = parser.parse_args(argv)
    if min(arguments.small, arguments.large, arguments.runs, arguments.shard_bytes) < 1:
        raise UserError("--small, --large, --shard-bytes and --runs must be at least 1")
    write_rows(arguments.output, measure(arguments.small, arguments.large, arguments.shard_bytes, arguments.runs))


if __name__ == "__main__":
    sys.exit(stage.run(main))
