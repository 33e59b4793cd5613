"""Stage: the parts of a corpus, each made by its own run of pipeline.corpus.documents, to one directory of shards.

Takes   the parts' directories, in order.
Makes   a directory of shard-00000.parquet, shard-00001.parquet ...: the shards of the first part, then those of the
        second ...; and skipped.json, if some part has one. Files are linked, not copied, where the file system can.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline import stage, store
from pipeline.stage import UserError


def join(parts: Sequence[Path], output: Path) -> int:
    """Put the shards of `parts` into `output` under new numbers; returns how many there are.

    A part may be empty (fewer files than parts, or all of its own damaged). Raises UserError where all are, and naming
    the directory for a part that is not there.
    """
    if absent := [part for part in parts if not part.is_dir()]:
        raise UserError(f"{absent[0]}: no such directory")
    shards = [shard for part in parts for shard in sorted(part.glob("shard-*.parquet"))]
    if not shards:
        raise UserError(f"the corpus is empty: none of {len(parts)} parts, {parts[0]} the first, holds a document")
    skipped = [
        one for part in parts if (part / "skipped.json").exists() for one in store.read_json(part / "skipped.json")
    ]
    with store.atomic_directory(output) as folder:
        for number, shard in enumerate(shards):
            _link(shard, folder / store.shard_name(number))
        if skipped:
            # A file that several parts read rows of is one file.
            store.write_json(folder / "skipped.json", list({one["where"]: one for one in skipped}.values()))
    return len(shards)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--parts", nargs="+", type=Path, required=True, help="directories of shards, in order")
    parser.add_argument("--output", type=Path, required=True, help="directory of shards to make")
    arguments = parser.parse_args(argv)
    count = join(arguments.parts, arguments.output)
    stage.log.info("%d parts, %d shards at %s", len(arguments.parts), count, arguments.output)


if __name__ == "__main__":
    sys.exit(stage.run(main))
