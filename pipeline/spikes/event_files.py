"""Spike trains on disk: a folder of Parquet shards, a row a vector, its events as differences of their addresses.

    shard-00000.parquet ...    `events: list<uint32>` (uint64 where P T passes 2^32), the addresses t P + k, rising
                               (`events.py`), in Parquet's own DELTA_BINARY_PACKED encoding; where spikes have signs,
                               `negative: list<bool>` beside it

Any Parquet reader reads them. The schema metadata say what a row is (`neurons`, `timesteps`, `signed`) and whose
(`representation`, digests of the `codec`'s file and of the `inputs`), which rows of how many a shard holds (`first`,
`vectors`), how many values the codec `clipped`, and a checksum of each row group (`groups`) and of all of this
(`sha256`). A row group is checked before anything of it is given out, and is all that memory holds.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import stage, store
from pipeline.codec import Array, check_facts
from pipeline.spikes import events
from pipeline.spikes.events import Events
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

GROUP_SLOTS = 1 << 24  # of a row group, which has one vector at least
SHARD_SLOTS = 1 << 28  # of a shard where nothing is said
SHARD_ROWS = 1 << 16  # likewise, at most


class Header(NamedTuple):
    """What all shards of a folder say: P, T, whether spikes have signs, how many `vectors` there are in all shards, the
    representation, and the digests of the codec's file and of the files that were encoded."""

    neurons: int
    timesteps: int
    signed: bool
    vectors: int
    representation: str = ""
    codec: str = ""
    inputs: str = ""

    @property
    def slots(self) -> int:
        """P T of a vector."""
        return self.neurons * self.timesteps

    @property
    def shard_rows(self) -> int:
        """Vectors of a shard where nothing is said."""
        return min(SHARD_ROWS, max(1, SHARD_SLOTS // max(self.slots, 1)))


class Shard(NamedTuple):
    """What one shard says: its first row's number among all, how many rows it has, how many values were clipped for
    them, and the checksums of its row groups."""

    header: Header
    first: int
    rows: int
    clipped: int
    groups: list[str]


class Block(NamedTuple):
    """The train of consecutive vectors, and how many values of each the code clipped: integers [n]."""

    train: SpikeTrain
    clipped: Array | None = None


def _schema(header: Header) -> pa.Schema:
    def lists(kind: pa.DataType) -> pa.DataType:
        return pa.list_(pa.field("element", kind, nullable=False))

    fields = [pa.field("events", lists(pa.from_numpy_dtype(events.address_type(header.slots))), nullable=False)]
    if header.signed:
        fields.append(pa.field("negative", lists(pa.bool_()), nullable=False))
    return pa.schema(fields)


def _digest(part: Events) -> str:
    whole = hashlib.sha256(part.offsets.astype("<i8").data)
    whole.update(part.address.data)
    if part.negative is not None:
        whole.update(part.negative.data)
    return whole.hexdigest()


def _facts_digest(facts: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


# --- writing -------------------------------------------------------------------------------------------------------


def write(
    folder: str | Path, header: Header, behind: Callable[[int], Iterable[Block]], shard_rows: int | None = None
) -> int:
    """Write a folder of shards; returns how many values were clipped.

    `behind(first)` gives the trains from row `first` on, some at a time. Whole shards of an earlier, killed run of the
    same header and shard size are kept: they wait in `.<folder>.unfinished`. Another process at the same folder is
    waited for. Raises UserError for a folder that holds anything but whole shards of events, for trains of another
    shape, and where their number is not `header.vectors`.
    """
    folder, rows = Path(folder), header.shard_rows if shard_rows is None else shard_rows
    if rows < 1:
        raise UserError(f"{folder}: {rows} rows a shard: expected at least 1")
    if not header.vectors:
        raise UserError(f"{folder}: no vectors to write")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    with store.locked(folder.with_name(f".{folder.name}.lock"), str(folder)):
        try:
            return _write(folder, unfinished, header, behind, rows)
        finally:
            if not any(unfinished.glob("shard-*.parquet")):  # nothing to go on behind
                shutil.rmtree(unfinished, ignore_errors=True)


def _write(
    folder: Path, unfinished: Path, header: Header, behind: Callable[[int], Iterable[Block]], shard_rows: int
) -> int:
    _check_replaceable(folder)
    done = list(_whole(unfinished, header, shard_rows))
    first, clipped = sum(shard.rows for shard in done), sum(shard.clipped for shard in done)
    if done:
        stage.log.info("%s: going on behind %d whole shards, %d vectors", folder, len(done), first)
    else:
        shutil.rmtree(unfinished, ignore_errors=True)
    if first < header.vectors:
        cut = _cut(behind(first), first, shard_rows, header.vectors, folder)
        for number, pieces in groupby(cut, key=lambda piece: piece[0]):
            shard = Shard(header, first, min(shard_rows, header.vectors - first), 0, [])
            clipped += _write_shard(unfinished / store.shard_name(number), shard, (block for _, block in pieces))
            first += shard.rows
    if first < header.vectors:
        raise UserError(f"{folder}: there are {first} vectors, not the {header.vectors} that were announced")
    names = {store.shard_name(number) for number in range(-(-header.vectors // shard_rows))}
    for other in unfinished.iterdir():
        if other.name not in names:
            other.unlink()  # what a killed writer left under a temporary name
    _check_replaceable(folder)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(unfinished, folder)
    return clipped


def _check_replaceable(folder: Path) -> None:
    """Raises UserError, naming it, for anything at the place that is no whole shard of events: it would be lost."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, not a folder of shards")
    if not folder.is_dir():
        return
    shards = sorted(folder.glob("shard-*.parquet"))
    if others := sorted({*folder.iterdir()} - {*shards}):
        raise UserError(f"{folder}: holds {others[0].name}, so it is no folder of shards; give another place")
    for shard in shards:  # other data have shards of this name too
        try:
            describe(shard)
        except UserError as error:
            raise UserError(f"{error}, so its folder is not replaced; give another place") from None


def _whole(folder: Path, header: Header, shard_rows: int) -> Iterator[Shard]:
    """The shards, from the first on, that a run of the same work has finished."""
    first = 0
    while first < header.vectors:
        try:
            shard = describe(folder / store.shard_name(first // shard_rows))
        except UserError:
            return
        rows = min(shard_rows, header.vectors - first)
        if (shard.header, shard.first, shard.rows) != (header, first, rows):
            return
        first += rows
        yield shard


def _cut(
    blocks: Iterable[Block], first: int, shard_rows: int, vectors: int, folder: Path
) -> Iterator[tuple[int, Block]]:
    """The blocks from row `first` on, each with its shard's number; one that has rows of two shards is cut.

    Raises UserError behind row `vectors`.
    """
    for train, clipped in blocks:
        start = 0
        while start < len(train):
            if first == vectors:
                raise UserError(f"{folder}: there are more than the {vectors} vectors that were announced")
            stop = min(len(train), start + shard_rows - first % shard_rows, start + vectors - first)
            mine = train.take(np.arange(start, stop))
            yield first // shard_rows, Block(mine, None if clipped is None else clipped[start:stop])
            first, start = first + stop - start, stop


def _write_shard(path: Path, shard: Shard, blocks: Iterable[Block]) -> int:
    """Write one shard of `shard.rows` vectors, atomically; returns how many of their values were clipped."""
    header, schema = shard.header, _schema(shard.header)
    group_rows = max(1, GROUP_SLOTS // max(header.slots, 1))
    groups, rows, clipped = [], 0, 0
    with (
        store.atomic_file(path) as temporary,
        pq.ParquetWriter(
            temporary, schema.with_metadata(_known(shard)), compression="zstd", write_page_checksum=True,
            use_dictionary=False, column_encoding={"events.list.element": "DELTA_BINARY_PACKED"},
        ) as file,
    ):  # fmt: skip
        for block in blocks:
            _check_train(path, block.train, header)
            clipped += 0 if block.clipped is None else int(block.clipped.sum())
            for start in range(0, len(block.train), group_rows):
                stop = min(start + group_rows, len(block.train))
                part = events.of(block.train.take(np.arange(start, stop)))
                file.write_table(_table(part, schema))
                groups.append(_digest(part))
            rows += len(block.train)
            if rows == shard.rows:
                break  # the shard is whole, whatever becomes of the next block
        if rows != shard.rows:
            raise UserError(
                f"{path}: there are {shard.first + rows} vectors, not the {header.vectors} that were announced"
            )
        counted = {"clipped": str(clipped), "groups": " ".join(groups)}
        file.add_key_value_metadata(counted | {"sha256": _facts_digest(_known(shard) | counted)})
    return clipped


def _check_train(path: Path, train: SpikeTrain, header: Header) -> None:
    found = (train.neurons, train.timesteps, train.signed)
    if found != header[:3]:
        raise UserError(f"{path}: a train of {_shape(*found)} among those of {_shape(*header[:3])}")


def _shape(neurons: int, timesteps: int, signed: bool) -> str:
    return f"{timesteps} steps of {neurons} neurons {'with' if signed else 'without'} signs"


def _table(part: Events, schema: pa.Schema) -> pa.Table:
    offsets = pa.array(part.offsets.astype(np.int32))
    columns = [pa.ListArray.from_arrays(offsets, pa.array(part.address), type=schema.field("events").type)]
    if part.negative is not None:
        columns.append(pa.ListArray.from_arrays(offsets, pa.array(part.negative), type=schema.field("negative").type))
    return pa.table(columns, schema=schema)


def _known(shard: Shard) -> dict[str, str]:
    """The metadata that are known before the shard is written."""
    facts = {**shard.header._asdict(), "first": shard.first, "rows": shard.rows}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}


# --- reading -------------------------------------------------------------------------------------------------------


def describe(path: str | Path) -> Shard:
    """What a shard says of itself. Raises UserError, naming the file, for one that is not whole or holds no events."""
    with store.open_parquet(path) as file:
        return _described(path, file)


def _described(path: str | Path, file: pq.ParquetFile) -> Shard:
    try:
        facts = {key.decode(): value.decode() for key, value in (file.metadata.metadata or {}).items()}
    except UnicodeDecodeError:
        raise UserError(f"{path}: its metadata are no text, so the file has been altered or damaged") from None
    names = (*Header._fields, "first", "rows", "clipped", "groups", "sha256")
    if missing := [name for name in names if name not in facts]:
        raise UserError(f"{path}: holds no spike events (its metadata have no {missing[0]})")
    facts = {name: facts[name] for name in names}
    if _facts_digest({name: facts[name] for name in names[:-1]}) != facts["sha256"]:
        raise UserError(f"{path}: its checksum is wrong, so the file has been altered or damaged")
    kinds = Header.__annotations__ | {"first": int, "rows": int, "clipped": int}
    read = {name: facts[name] if kind is str else json.loads(facts[name]) for name, kind in kinds.items()}
    header = Header(**{name: read[name] for name in Header._fields})
    found = Shard(header, read["first"], read["rows"], read["clipped"], facts["groups"].split())
    right = (_schema(header), found.rows, len(found.groups))
    if (file.schema_arrow.remove_metadata(), file.metadata.num_rows, file.num_row_groups) != right:
        raise UserError(f"{path}: its columns or rows are not those that its metadata name")
    return found


def read_shard(path: str | Path) -> Iterator[SpikeTrain]:
    """The trains of a shard, a row group at a time, each checked before it is given out.

    Raises UserError, naming the file, for one that is cut short, altered, or no shard of events.
    """
    with store.open_parquet(path) as file:
        shard = _described(path, file)
        for number, digest in enumerate(shard.groups):
            try:
                table = file.read_row_group(number)
            except (pa.ArrowException, OSError) as error:
                raise UserError(f"{path}: damaged Parquet file ({' '.join(str(error).split())})") from None
            try:
                part = _part(table, shard.header)
                if _digest(part) != digest:
                    raise UserError("its checksum is wrong, so the file has been altered or damaged")
                train = events.to_train(part)
            except UserError as error:
                raise UserError(f"{path}: row group {number}: {error}") from None
            yield train


def _part(table: pa.Table, header: Header) -> Events:
    """The events of a row group. Raises UserError if they are none."""
    columns = [table.column(name).combine_chunks() for name in table.column_names]
    offsets = columns[0].offsets.to_numpy().astype(np.int64)
    values = [column.flatten().to_numpy(zero_copy_only=False) for column in columns]
    if header.signed and not columns[0].offsets.equals(columns[1].offsets):
        raise UserError("signs for other events than there are")
    negative = values[1] if header.signed else None
    return Events(offsets - offsets[0], values[0], header.neurons, header.timesteps, negative)


def describe_folder(folder: str | Path, expected: Mapping[str, str] | None = None) -> list[Shard]:
    """What the shards of a folder say, in order. `expected`: what their header has to be (`representation`, `codec`).

    Raises UserError, naming the file, for one that is of another folder or code, and where one is missing.
    """
    found: list[Shard] = []
    rows = 0
    for number, path in enumerate(store.shards(folder)):
        if path.name != store.shard_name(number):
            raise UserError(f"{path.with_name(store.shard_name(number))}: is missing")
        shard = describe(path)
        check_facts(path, shard.header._asdict(), expected or {})
        if found:
            check_facts(path, shard.header._asdict(), found[0].header._asdict())
        if shard.first != rows:
            raise UserError(f"{path}: begins at vector {shard.first}, but {rows} stand before it")
        rows += shard.rows
        found.append(shard)
    if rows != found[0].header.vectors:
        raise UserError(f"{folder}: {rows} vectors of {found[0].header.vectors}: the last shards are missing")
    return found


def read(folder: str | Path, expected: Mapping[str, str] | None = None) -> Iterator[SpikeTrain]:
    """The trains of a folder, some vectors at a time, in order. Raises UserError as `describe_folder`, `read_shard`."""
    for number in range(len(describe_folder(folder, expected))):
        yield from read_shard(Path(folder) / store.shard_name(number))
