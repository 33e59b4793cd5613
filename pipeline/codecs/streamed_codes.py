"""Codes written block by block: the file that `codec.write_codes` writes, a row group a block, in bounded memory.

Its checksum is over the words, then the codes, so the words are given twice: once alone, once with their codes.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline.codec import Codes, codes_table
from pipeline.stage import UserError


def write(
    path: str | Path, words: Iterable[str], blocks: Iterable[tuple[Sequence[str], Codes]], facts: Mapping[str, str]
) -> None:
    """Write at least one block of words and their codes: one array each, no strings. Not atomic.

    Raises UserError if the blocks have another number of words.
    """
    blocks = iter(blocks)
    first = next(blocks)
    schema, ((name, array),) = codes_table(*first, facts).schema, first[1].arrays.items()
    whole, count = _words_hashed({key.decode(): value.decode() for key, value in schema.metadata.items()}, words)
    whole.update(f"{name}.values\0{array.dtype.str}\0{(count, *array.shape[1:])}\0".encode())
    written = 0
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as file:
        for names, codes in chain([first], blocks):
            whole.update(np.ascontiguousarray(codes[name]).data)
            file.write_table(codes_table(names, codes, facts))
            written += len(names)
        file.add_key_value_metadata({"sha256": whole.hexdigest()})
    if written != count:
        raise UserError(f"the words have changed while they were read: {count}, then {written}")


def _words_hashed(facts: Mapping[str, str], words: Iterable[str]) -> tuple["hashlib._Hash", int]:
    """SHA-256 of the JSON of facts and words, as codes are checked by, and how many words there are."""
    opening, closing = json.dumps({"facts": facts, "words": [0]}, sort_keys=True).rsplit("0", 1)
    whole, count = hashlib.sha256(opening.encode()), 0
    for word in words:
        whole.update(f"{', ' if count else ''}{json.dumps(word)}".encode())
        count += 1
    whole.update(closing.encode())
    return whole, count
