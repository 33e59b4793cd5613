"""Things on disk: atomic writes, digests, Parquet shards and embedding tables.

A file appears under its name only when it is whole: it is written beside its place under a temporary name, flushed to
the disk and renamed. So after kill -9 there is either the old file, the new one, or none; what was left under the
temporary name is removed when the same file is written again.
"""

import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.stage import UserError, log

Array = np.ndarray


# --- whole or not at all -------------------------------------------------------------------------------------------


def _prepare(target: Path) -> None:
    """Make the folder of `target`, and remove what an earlier, killed attempt at it left behind."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        writer = stale.name.split(".")[-3 if stale.is_dir() else -2]
        if not writer.isdigit() or not _alive(int(writer)):
            shutil.rmtree(stale, ignore_errors=True) if stale.is_dir() else stale.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    """Whether a process of this number runs on this machine (a job may outlive the workflow that began it)."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


def with_ending(path: Path, ending: str) -> Path:
    """A path and an ending, `.csv`; unlike Path.with_suffix it keeps what stands behind a dot, as in `snn.v1`."""
    return path.with_name(path.name + ending)


@contextmanager
def atomic_file(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` if the block ends well, remove it if not.

    The file has the permissions that the process's umask gives, whatever the library that wrote it gave (safetensors
    leaves its own to the owner alone).
    """
    target = Path(target)
    _prepare(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        temporary.touch()
        permissions = temporary.stat().st_mode & 0o777  # the umask cannot be asked without being changed
        temporary.unlink()
        yield temporary
        temporary.chmod(permissions)
        _flush(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(target: str | Path) -> Iterator[Path]:
    """Yield a fresh temporary directory beside `target`; it replaces `target` if the block ends well."""
    target = Path(target)
    _prepare(target)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.{os.getpid()}.", suffix=".part", dir=target.parent))
    temporary.chmod(0o755)
    aside = temporary.with_name(temporary.name.removesuffix(".part") + "-old.part")
    try:
        yield temporary
        for written in temporary.rglob("*"):
            _flush(written)
        if target.exists():
            os.replace(target, aside)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def _flush(path: Path) -> None:
    """Have the system write a file's bytes, or a directory's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stands_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one of that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextmanager
def locked(path: str | Path, what: str) -> Iterator[None]:
    """Hold the kernel's lock on the file `path` (made if need be) while the block runs; wait for whoever holds it.

    A killed workflow can leave a job behind that goes on working. The kernel drops the lock with the process that holds
    it, however that ends. While there is something to wait for, `what` is named with the process, whose number the file
    holds. The file vanishes with the block, unless it is killed. Raises OSError.
    """
    path = Path(path)
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+", encoding="ascii", errors="replace") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read(20).strip() or "unknown"
                log.warning("%s: another process is at work (%s); waiting until it ends", what, holder)
                fcntl.flock(file, fcntl.LOCK_EX)
            if not _stands_at(path, file.fileno()):
                continue  # whoever held it has removed it, and another one's lock may be there by now
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)  # before the lock is dropped
            return


def write_json(target: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys, atomically."""
    with atomic_file(target) as path:
        path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_json(source: str | Path) -> Any:
    """Raises UserError, naming the file, if it is missing or not JSON."""
    try:
        return json.loads(Path(source).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{source}: no such file") from None
    except OSError as error:
        raise UserError(f"{source}: cannot be read ({error.strerror})") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: not JSON ({error})") from None


# --- where things come from ----------------------------------------------------------------------------------------


def digest(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal; of a directory, over its files' names and contents in sorted order."""
    path = Path(path)
    if path.is_file():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    for file_path in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(f"{file_path.relative_to(path)}\0{digest(file_path)}\0".encode())
    return whole.hexdigest()


def array_digest(array: Array) -> str:
    """SHA-256 of an array's type, shape and values."""
    whole = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    whole.update(np.ascontiguousarray(array).data)
    return whole.hexdigest()


def versions(*distributions: str) -> dict[str, str]:
    """Versions of this package and of those of `distributions` that are installed, for an artifact's metadata."""
    found = {}
    for name in ("spikes-and-bits", *distributions):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


# --- Parquet -------------------------------------------------------------------------------------------------------


def open_parquet(path: str | Path, columns: Iterable[str] = ()) -> pq.ParquetFile:
    """Open a Parquet file. Raises UserError, naming the file, if it is missing, broken or lacks one of `columns`."""
    try:
        # pre_buffer: true, it keeps the bytes of all row groups that it has read. buffer_size: 0, it reads all of a row
        # group's column, however few rows are asked for.
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20, page_checksum_verification=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: a flipped byte in a column's name
        raise UserError(f"{path}: not a whole Parquet file ({error})") from None
    names = file.schema_arrow.names
    for column in columns:
        if names.count(column) != 1:
            how = "no" if column not in names else "more than one"
            raise UserError(f"{path}: {how} column {column!r}; it has {', '.join(names)}")
    return file


def read_parquet(path: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole Parquet file as a table. Raises UserError as `open_parquet`, and for pages that do not decode."""
    file = open_parquet(path, columns or ())
    try:
        return file.read(columns=list(columns) if columns else None)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged Parquet file ({error})") from None


def first_null(values: pa.Array) -> int:
    """The first row that is null, of values [n] that have one."""
    return int(values.is_null().index(True).as_py())


def write_parquet(target: str | Path, table: pa.Table, facts: Mapping[str, str] | None = None, **how: Any) -> None:
    """Write a table atomically, zstd-compressed, its pages with checksums, `facts` added to the schema metadata."""
    if facts:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **facts})
    with atomic_file(target) as path:
        # Without checksums a flipped byte is another number, and nobody would know.
        pq.write_table(table, path, compression="zstd", write_page_checksum=True, **how)


def shards(directory: str | Path) -> list[Path]:
    """The shards of a dataset, in order. Raises UserError if there is none."""
    found = sorted(Path(directory).glob("shard-*.parquet"))
    if not found:
        raise UserError(f"{directory}: no shard-*.parquet in it")
    return found


def shard_name(number: int) -> str:
    return f"shard-{number:05d}.parquet"


# --- embedding tables ----------------------------------------------------------------------------------------------


CHECKED_ROWS = 4096


@dataclass(frozen=True)
class EmbeddingTable:
    """Named rows: `words` [n] and `vectors` float32 [n, d], exactly as the source holds them, and where they are from.

    `facts` are strings (source, model, licence, normalisation, digests); they travel in the Parquet schema metadata.
    """

    words: list[str]
    vectors: Array
    facts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.vectors.dtype != np.float32 or self.vectors.ndim != 2 or len(self.words) != len(self.vectors):
            raise ValueError(f"{len(self.words)} words for {self.vectors.dtype} vectors of shape {self.vectors.shape}")

    def rows(self) -> dict[str, int]:
        """Row number of each word."""
        return {word: row for row, word in enumerate(self.words)}


def check_embedding(table: EmbeddingTable, name: str) -> EmbeddingTable:
    """The table itself, if every row can be used. Raises UserError that names the first row that cannot.

    A row cannot be used if its word is empty or stands in an earlier row, or if its vector is none of `check_vectors`.
    """
    seen: dict[str, int] = {}
    for row, word in enumerate(table.words):
        if not word:
            raise UserError(f"{name}: row {row} has an empty word")
        if (first := seen.setdefault(word, row)) != row:
            raise UserError(f"{name}: the word {word!r} stands twice, in rows {first} and {row}")
    check_vectors(table.vectors, name, table.words)
    return table


def check_vectors(vectors: Array, name: str | Path, words: Sequence[str] = ()) -> Array:
    """The vectors [n, d] themselves, if there are some and all can be used. Raises UserError that names the first row
    that cannot, and its word if there are `words`.

    A vector cannot be used if a value is NaN or infinite, or if all are zero (it has no direction, so no cosine).
    """
    if not vectors.size:
        raise UserError(f"{name}: a table of vectors of shape {vectors.shape} holds nothing")
    for start in range(0, len(vectors), CHECKED_ROWS):  # a block at a time: no copy of a large table
        block = vectors[start : start + CHECKED_ROWS]
        finite, pointing = np.isfinite(block).all(axis=1), block.any(axis=1)
        if len(bad := np.flatnonzero(~(finite & pointing))):
            row = start + int(bad[0])
            word = f" ({words[row]!r})" if words else ""
            what = "is a zero vector" if finite[bad[0]] else "holds NaN or infinity"
            raise UserError(f"{name}: row {row}{word} {what}")
    return vectors


def unit_rows(vectors: Array) -> Array:
    """Each row divided by its Euclidean norm (accumulated in float64), float32 [n, d]. Zero rows stay zero."""
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))[:, None]
    return np.divide(vectors, norms, out=np.zeros(vectors.shape, np.float64), where=norms > 0).astype(np.float32)


def write_embedding(target: str | Path, table: EmbeddingTable) -> None:
    """Parquet `word: string, vector: fixed_size_list<float32>[d]`; bytes are split by significance before zstd."""
    check_embedding(table, str(target))
    dims = table.vectors.shape[1]
    values = pa.array(np.ascontiguousarray(table.vectors).ravel())
    columns = {"word": pa.array(table.words), "vector": pa.FixedSizeListArray.from_arrays(values, dims)}
    write_parquet(
        target, pa.table(columns), table.facts, use_byte_stream_split=["vector.list.element"], use_dictionary=["word"]
    )


def read_embedding(source: str | Path) -> EmbeddingTable:
    """Raises UserError, naming the file and row, for anything that is not a usable embedding table."""
    table = read_parquet(source, ["word", "vector"])
    words = table.column("word").combine_chunks()
    if not pa.types.is_string(words.type) and not pa.types.is_large_string(words.type):
        raise UserError(f"{source}: column 'word' is {words.type}, not string")
    if words.null_count:
        raise UserError(f"{source}: row {first_null(words)} has no word")
    vectors = vectors_of(table, source)
    facts = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    facts.pop("ARROW:schema", None)
    return check_embedding(EmbeddingTable(table.column("word").to_pylist(), vectors, facts), str(source))


def vectors_of(table: pa.Table, source: str | Path) -> Array:
    """Column `vector`, fixed_size_list<float32>[d], of a table that was read from `source`, float32 [n, d].

    Raises UserError, naming the file, for a column of another type, and the row too for one that is null.
    """
    column = table.column("vector").combine_chunks()
    if not pa.types.is_fixed_size_list(column.type) or column.type.value_type != pa.float32():
        raise UserError(f"{source}: column 'vector' is {column.type}, not fixed_size_list<float32>")
    if column.null_count:
        raise UserError(f"{source}: row {first_null(column)} has no vector")
    flat: Array = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(table), column.type.list_size)
