"""The store of paid results: what an endpoint gave for a text, so that no text is paid for twice.

A folder for each endpoint, model and number of dimensions, named by the model and a digest of the three, which
about.json spells out. A file for each reply, `reply-<digest of its texts>.parquet`: `text: string, vector:
fixed_size_list<float32>[d]`, with the tokens that the server counted and digests of texts and vectors in the metadata.
A file appears when it is whole, and nothing is ever written into one; so several processes can read a folder, and after
kill -9 it holds all replies but those that were still under way. Who pays holds the folder's lock meanwhile: one of the
kernel's, which ends with the process.
"""

import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import store
from pipeline.stage import UserError
from pipeline.store import Array, array_digest, write_json, write_parquet

DIGEST_DIGITS = 32
ABANDONED_S = 3600  # writing takes seconds: an older temporary file belongs to a process that was killed


class Reply(NamedTuple):
    """Vectors float32 [n, d] of n inputs, the model's name as the server gives it, and its count of tokens, if any."""

    vectors: Array
    model: str
    tokens: int | None


class Damaged(NamedTuple):
    """A file that cannot be used, and why."""

    path: Path
    reason: str


def folder(cache: str | Path, base_url: str, model: str, dimensions: int | None) -> Path:
    """Where the results of a model lie; `dimensions` are those asked for, None for the model's own."""
    key = json.dumps([base_url, model, dimensions])
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", model)[:80]
    return Path(cache) / f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def prepare(where: Path, base_url: str, model: str, dimensions: int | None) -> None:
    """Make the folder, say in it what it is, and remove what killed processes left half-written.

    Raises OSError where it cannot be written, which is better known before anything is paid.
    """
    write_json(where / "about.json", {"base_url": base_url, "model": model, "dimensions": dimensions})
    for part in where.glob(".*.part"):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > ABANDONED_S:
                part.unlink()


def locked(where: Path) -> AbstractContextManager[None]:
    """The folder's lock, held as long as the block lasts. Waits, and says so, while another process pays.

    What that process has paid for lies in the folder then: read it before paying. Raises OSError.
    """
    return store.locked(where / "lock", str(where))


def reply_path(where: Path, texts: Sequence[str]) -> Path:
    """The file of a reply to these texts."""
    return where / f"reply-{_texts_digest(texts)[:DIGEST_DIGITS]}.parquet"


def write(where: Path, texts: Sequence[str], reply: Reply) -> Path:
    """Keep the vectors of n different texts. When it returns they are on the disk."""
    values = pa.array(np.ascontiguousarray(reply.vectors).ravel())
    vectors = pa.FixedSizeListArray.from_arrays(values, reply.vectors.shape[1])
    facts = {
        "model": reply.model,
        "tokens": "" if reply.tokens is None else str(reply.tokens),
        "texts_sha256": _texts_digest(texts),
        "vectors_sha256": array_digest(reply.vectors),
    }
    path = reply_path(where, texts)
    columns = {"text": pa.array(texts, pa.string()), "vector": vectors}
    write_parquet(path, pa.table(columns), facts, use_byte_stream_split=["vector.list.element"], use_dictionary=False)
    return path


def read(path: Path) -> tuple[list[str], Reply]:
    """The texts and the reply of one file.

    Raises UserError, naming the file, unless every bit is as it was written, and OSError where that cannot be found
    out: the file cannot be read, or the memory does not suffice.
    """
    try:
        return _parsed(path, path.read_bytes())
    except MemoryError:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), str(path)) from None


def _parsed(path: Path, content: bytes) -> tuple[list[str], Reply]:
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read()
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:  # pyarrow's, about the bytes: they are all there
        raise UserError(f"{path}: not a whole Parquet file ({error})") from None
    for name in ("text", "vector"):
        if name not in table.column_names:
            raise UserError(f"{path}: no column {name!r}; it has {', '.join(table.column_names)}")
    facts = {key.decode(): value.decode("utf-8", "replace") for key, value in (table.schema.metadata or {}).items()}
    column = table.column("vector").combine_chunks()
    if not pa.types.is_fixed_size_list(column.type) or column.type.value_type != pa.float32():
        raise UserError(f"{path}: column 'vector' is {column.type}, not fixed_size_list<float32>")
    vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    try:
        texts = table.column("text").to_pylist()
        tokens = int(facts["tokens"]) if facts["tokens"] else None
        model, expected = facts["model"], (facts["texts_sha256"], facts["vectors_sha256"])
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: not a file of paid results ({error})") from None
    if (_texts_digest(texts), array_digest(vectors)) != expected:
        raise UserError(f"{path}: its texts or vectors are not those that were written")
    return texts, Reply(vectors, model, tokens)


def replies(
    where: Path, damaged: list[Damaged], known: Collection[Path] = ()
) -> Iterator[tuple[Path, list[str], Reply]]:
    """All replies of a folder, which need not exist, but those that are `known`, in the order of their names.

    Files that were read and are not what was written are added to `damaged`. Raises OSError for a folder or a file that
    cannot be read: what was paid for may be in it.
    """
    try:
        names = sorted(os.listdir(where))  # glob takes a folder that it cannot read for an empty one
    except FileNotFoundError:
        return
    for path in (where / name for name in names if re.fullmatch(r"reply-.*\.parquet", name)):
        if path in known:
            continue
        try:
            texts, reply = read(path)
        except FileNotFoundError:  # another process has set it aside
            continue
        except (UserError, pa.ArrowException, ValueError) as error:  # bytes at random can fail anywhere in pyarrow
            damaged.append(Damaged(path, " ".join(str(error).split()).removeprefix(f"{path}: ")))
        else:
            yield path, texts, reply


def set_aside(damaged: Sequence[Damaged]) -> None:
    """Rename damaged files, so that the next run is not warned again; they are kept, for they were paid for."""
    for path, _ in damaged:
        with suppress(FileNotFoundError):  # another process was faster
            path.replace(store.with_ending(path, ".damaged"))


def _texts_digest(texts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
