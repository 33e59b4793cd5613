"""Concatenate embedding tables on the words that all of them have.

Takes:  two or more embedding tables
Makes:  one table: words in the order of the first, each part's rows of unit length, divided by sqrt(number of parts)

Every part so has the same say, and rows are of unit length again. With k parts u_i and v_i the rows of two words,

    cos(u, v) = sum_i (u_i / |u_i| sqrt k) . (v_i / |v_i| sqrt k) = (1 / k) sum_i cos(u_i, v_i)

the mean of the parts' cosines.
"""

import json
import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline import stage
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, digest, read_embedding, unit_rows, versions, write_embedding

log = logging.getLogger("pipeline")


def concatenate(parts: dict[str, EmbeddingTable]) -> EmbeddingTable:
    """The concatenation of named tables [n_i, d_i]: float32 [n, sum of d_i], n the words that all have.

    Raises UserError for fewer than two parts and where no word is in all of them.
    """
    if len(parts) < 2:
        raise UserError(f"a concatenation needs at least two tables of different names, not {len(parts)}")
    tables = list(parts.values())
    common = set(tables[0].words).intersection(*(table.words for table in tables[1:]))
    words = [word for word in tables[0].words if word in common]
    if not words:
        raise UserError(f"no word is in all of {', '.join(parts)}")
    blocks = []
    for table in tables:
        row = table.rows()
        blocks.append(unit_rows(table.vectors[[row[word] for word in words]]))
    vectors = np.concatenate(blocks, axis=1) / np.float32(math.sqrt(len(tables)))  # [n, sum of d_i]
    facts = {
        "name": "+".join(parts),
        "source": "concatenation",
        "model": " + ".join(table.facts.get("model", name) for name, table in parts.items()),
        "licence": "; ".join(f"{name}: {table.facts.get('licence', 'unknown')}" for name, table in parts.items()),
        "normalisation": f"each part's rows of unit length, divided by sqrt({len(tables)})",
        "dims": json.dumps({name: table.vectors.shape[1] for name, table in parts.items()}),
        "words_in_parts": json.dumps({name: len(table.words) for name, table in parts.items()}),
        "parts": json.dumps({name: table.facts for name, table in parts.items()}),
        "versions": json.dumps(versions()),
    }
    return EmbeddingTable(words, vectors, facts)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--parts", nargs="+", required=True, metavar="TABLE", help="embedding tables, two or more")
    parser.add_argument("--output", required=True, help="Parquet file to write")
    args = parser.parse_args(argv)
    names = [Path(part).stem for part in args.parts]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"--parts: {twice[0]!r} is named twice; parts must be distinct")
    table = concatenate({name: read_embedding(part) for name, part in zip(names, args.parts, strict=True)})
    table.facts["digests"] = json.dumps({name: digest(part) for name, part in zip(names, args.parts, strict=True)})
    write_embedding(args.output, table)
    log.info("%s: %d words x %d dimensions", args.output, *table.vectors.shape)


if __name__ == "__main__":
    sys.exit(stage.run(main))
