"""Trains come back from disk bit for bit, shard by shard; what is altered, cut short or another's is refused."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import store
from pipeline.spikes import event_files, events
from pipeline.spikes.event_files import Block, Header, describe_folder, read, read_shard, write
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError


def random_train(rows, steps=3, neurons=13, signed=False, seed=0):
    dense = np.random.default_rng(seed).integers(-1 if signed else 0, 2, (steps, rows, neurons))
    return SpikeTrain.from_dense(dense, signed)


def header_of(train, **changed):
    facts = {"representation": "phase_3", "codec": "abc", "inputs": "d e"}
    return Header(train.neurons, train.timesteps, train.signed, len(train), **(facts | changed))


def blocks(train, size=4):
    """As `write` asks for them: the trains behind a row, so many at a time; row r has r clipped values."""

    def behind(first):
        for start in range(first, len(train), size):
            rows = np.arange(start, min(start + size, len(train)))
            yield Block(train.take(rows), rows)

    return behind


def joined(trains):
    packed, negative = [], []
    for train in trains:
        packed.append(train.packed)
        negative += [] if train.negative is None else [train.negative]
    return np.concatenate(packed), np.concatenate(negative) if negative else None


def assert_holds(folder, train):
    packed, negative = joined(read(folder))
    np.testing.assert_array_equal(packed, train.packed, strict=True)
    assert (negative is None) == (train.negative is None)
    if negative is not None:
        np.testing.assert_array_equal(negative, train.negative, strict=True)


def refused(path, reading):
    with pytest.raises(UserError) as error:
        for _ in reading(path):
            pass
    assert str(error.value).startswith(f"{path}")
    assert "\n" not in str(error.value)
    return str(error.value)


@given(st.integers(1, 12), st.integers(0, 3), st.integers(0, 17), st.booleans(), st.integers(1, 13), st.integers(1, 5))
def test_trains_come_back(tmp_path_factory, rows, steps, neurons, signed, shard_rows, size):
    folder = tmp_path_factory.mktemp("events") / "folder"
    train = random_train(rows, steps, neurons, signed, seed=rows)
    assert write(folder, header_of(train), blocks(train, size), shard_rows) == sum(range(rows))
    assert_holds(folder, train)
    shards = describe_folder(folder)
    assert {path.name for path in folder.iterdir()} == {store.shard_name(number) for number in range(len(shards))}
    assert [shard.first for shard in shards] == list(range(0, rows, shard_rows))
    assert [shard.rows for shard in shards] == [min(shard_rows, rows - first) for first in range(0, rows, shard_rows)]
    assert [shard.clipped for shard in shards] == [sum(range(one.first, one.first + one.rows)) for one in shards]
    assert {shard.header for shard in shards} == {header_of(train)}
    assert not [path for path in folder.parent.iterdir() if path != folder]


def test_any_parquet_reader_finds_delta_coded_addresses(tmp_path):
    train = random_train(9, signed=True)
    write(tmp_path / "f", header_of(train), blocks(train))
    table = pq.read_table(tmp_path / "f" / "shard-00000.parquet")
    whole = events.of(train)
    cuts = whole.offsets[1:-1]
    assert table.column("events").to_pylist() == [part.tolist() for part in np.split(whole.address, cuts)]
    assert table.column("negative").to_pylist() == [part.tolist() for part in np.split(whole.negative, cuts)]
    metadata = pq.read_schema(tmp_path / "f" / "shard-00000.parquet").metadata
    wanted = {b"neurons": b"13", b"timesteps": b"3", b"signed": b"true", b"representation": b"phase_3"}
    assert wanted.items() <= metadata.items()
    column = pq.read_metadata(tmp_path / "f" / "shard-00000.parquet").row_group(0).column(0)
    assert "DELTA_BINARY_PACKED" in column.encodings
    assert "PLAIN" not in column.encodings


def test_wide_addresses(tmp_path):
    """P T beyond 32 bits: a train of them is not held in memory here, but its schema and its table are."""
    header = Header(2**32 + 1, 2, True, 1)
    part = events.Events.at(np.array([0, 2]), np.array([0, 1]), np.array([5, 7]), 2**32 + 1, 2, np.array([True, False]))
    table = event_files._table(part, event_files._schema(header))
    assert table.column("events").to_pylist() == [[5, 2**32 + 8]]
    np.testing.assert_array_equal(event_files._part(table, header).address, part.address, strict=True)


def test_row_groups_are_small(tmp_path, monkeypatch):
    """A block of many vectors is written, and read, some at a time."""
    monkeypatch.setattr(event_files, "GROUP_SLOTS", 3 * 13 * 5)
    train = random_train(23)
    write(tmp_path / "f", header_of(train), blocks(train, 23), 12)
    assert [len(part) for part in read(tmp_path / "f")] == [5, 5, 2, 5, 5, 1]
    assert_holds(tmp_path / "f", train)


def test_rows_of_a_shard_where_nothing_is_said():
    assert Header(300, 8, False, 1).shard_rows == 65536
    assert Header(300 * 2500, 100, False, 1).shard_rows == 3
    assert Header(2**40, 1, False, 1).shard_rows == 1


def test_nothing_of_a_row_group_is_given_out_before_it_is_checked(tmp_path):
    """The second row group is another's: the first comes, and then the error."""
    train = random_train(8)
    write(tmp_path / "f", header_of(train), blocks(train))
    path = tmp_path / "f" / "shard-00000.parquet"
    file = pq.ParquetFile(path)
    groups = [file.read_row_group(0), file.read_row_group(0)]
    facts = {key.decode(): value.decode() for key, value in file.metadata.metadata.items() if key != b"ARROW:schema"}
    with pq.ParquetWriter(path, groups[0].schema.remove_metadata()) as writer:
        for group in groups:
            writer.write_table(group.replace_schema_metadata(None))
        writer.add_key_value_metadata(facts)
    found = read_shard(path)
    np.testing.assert_array_equal(next(found).packed, train.packed[:4])
    with pytest.raises(UserError, match=r"shard-00000\.parquet: row group 1: its checksum is wrong"):
        next(found)


def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path):
    train = random_train(6, signed=True)
    write(tmp_path / "f", header_of(train), blocks(train, 3))
    path = tmp_path / "f" / "shard-00000.parquet"
    whole, noticed, harmless = path.read_bytes(), 0, 0
    for place in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            packed, negative = joined(read(tmp_path / "f"))
        except UserError as error:
            noticed += str(error).startswith(f"{path}: ")
            continue
        np.testing.assert_array_equal(packed, train.packed)
        np.testing.assert_array_equal(negative, train.negative)
        harmless += 1
    assert noticed + harmless == len(range(0, len(whole), 3))
    assert noticed > len(whole) / 6


def test_a_file_cut_short_is_refused_at_every_length(tmp_path):
    train = random_train(6)
    write(tmp_path / "f", header_of(train), blocks(train))
    path = tmp_path / "f" / "shard-00000.parquet"
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        refused(path, read_shard)


@pytest.fixture
def three(tmp_path):
    """A folder of three shards, and its train."""
    train = random_train(10)
    write(tmp_path / "f", header_of(train), blocks(train), 4)
    return tmp_path / "f", train


def test_what_a_header_has_to_be(three):
    folder, _ = three
    assert len(describe_folder(folder, {"representation": "phase_3", "codec": "abc"})) == 3
    with pytest.raises(UserError) as error:
        next(read(folder, {"codec": "abd"}))
    assert str(error.value) == f"{folder}/shard-00000.parquet: belongs elsewhere: its codec is 'abc', not 'abd'"


def test_missing_and_foreign_shards_are_named(three, tmp_path):
    folder, train = three
    (folder / "shard-00002.parquet").rename(tmp_path / "last")
    assert refused(folder, read) == f"{folder}: 8 vectors of 10: the last shards are missing"
    (tmp_path / "last").rename(folder / "shard-00002.parquet")
    (folder / "shard-00001.parquet").rename(tmp_path / "middle")
    assert refused(folder, read) == f"{folder}/shard-00001.parquet: is missing"
    write(tmp_path / "h", header_of(train), blocks(train), 3)
    (tmp_path / "h" / "shard-00001.parquet").rename(folder / "shard-00001.parquet")
    assert "shard-00001.parquet: begins at vector 3, but 4 stand before it" in refused(folder, read)
    write(tmp_path / "g", header_of(train, codec="of another"), blocks(train), 4)
    (tmp_path / "g" / "shard-00001.parquet").rename(folder / "shard-00001.parquet")
    assert "shard-00001.parquet: belongs elsewhere: its codec is 'of another', not 'abc'" in refused(folder, read)


def test_other_files_are_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "x.parquet", read_shard)
    assert "no shard-*.parquet in it" in refused(tmp_path, read)
    store.write_parquet(tmp_path / "x.parquet", pa.table({"word": ["a"], "vector": [[1.0]]}))
    assert "holds no spike events (its metadata have no neurons)" in refused(tmp_path / "x.parquet", read_shard)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1, 2]] * 2, pa.list_(pa.int32())),
        pa.array([[1, 2]] * 2, pa.list_(pa.uint32())),  # elements may be missing
        pa.array(["a", "b"]),
    ],
)
def test_other_columns_than_the_metadata_say_are_refused(tmp_path, column):
    train = random_train(2)
    write(tmp_path / "f", header_of(train), blocks(train))
    path = tmp_path / "f" / "shard-00000.parquet"
    facts = {k.decode(): v.decode() for k, v in pq.read_metadata(path).metadata.items() if k != b"ARROW:schema"}
    store.write_parquet(path, pa.table({"events": column}), facts)
    assert "its columns or rows are not those that its metadata name" in refused(path, read_shard)


def test_altered_metadata_are_refused(tmp_path):
    train = random_train(2)
    write(tmp_path / "f", header_of(train), blocks(train))
    path = tmp_path / "f" / "shard-00000.parquet"
    table = pq.read_table(path)
    facts = {k.decode(): v.decode() for k, v in pq.read_metadata(path).metadata.items() if k != b"ARROW:schema"}
    for changed in ({"neurons": "14"}, {"codec": "abd"}, {"clipped": "0"}, {"first": "2"}, {"groups": ""}):
        store.write_parquet(path, table.replace_schema_metadata(facts | changed))
        assert "its checksum is wrong" in refused(path, read_shard)


# --- going on ------------------------------------------------------------------------------------------------------


def failing(train, at):
    """Blocks that end in an error behind so many vectors."""

    def behind(first):
        for block in blocks(train)(first):
            if first >= at:
                raise UserError("no more")
            first += len(block.train)
            yield block

    return behind


def test_whole_shards_of_an_earlier_run_are_kept(tmp_path):
    train, folder = random_train(11), tmp_path / "f"
    with pytest.raises(UserError, match="no more"):
        write(folder, header_of(train), failing(train, 8), 4)
    assert not folder.exists()
    unfinished = tmp_path / ".f.unfinished"
    assert sorted(path.name for path in unfinished.iterdir()) == ["shard-00000.parquet", "shard-00001.parquet"]
    kept = (unfinished / "shard-00001.parquet").stat().st_ino
    asked = []

    def behind(first):
        asked.append(first)
        return blocks(train)(first)

    assert write(folder, header_of(train), behind, 4) == sum(range(11))
    assert asked == [8]
    assert (folder / "shard-00001.parquet").stat().st_ino == kept
    assert_holds(folder, train)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("changed", [{"codec": "another"}, {"inputs": "others"}, {"shard_rows": 5}])
def test_shards_of_another_run_are_not(tmp_path, changed):
    train, folder = random_train(11), tmp_path / "f"
    with pytest.raises(UserError, match="no more"):
        write(folder, header_of(train), failing(train, 8), 4)
    other = random_train(11, seed=1)
    rows = changed.pop("shard_rows", 4)
    write(folder, header_of(other, **changed), blocks(other), rows)
    assert_holds(folder, other)


def test_a_damaged_unfinished_shard_is_written_again(tmp_path):
    train, folder = random_train(11), tmp_path / "f"
    with pytest.raises(UserError, match="no more"):
        write(folder, header_of(train), failing(train, 8), 4)
    path = tmp_path / ".f.unfinished" / "shard-00001.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    write(folder, header_of(train), blocks(train), 4)
    assert_holds(folder, train)


def test_what_a_killed_writer_left_is_removed(tmp_path):
    """Also beyond the shards that there are to be, where nobody would write under the same name again."""
    train, folder = random_train(11), tmp_path / "f"
    with pytest.raises(UserError, match="no more"):
        write(folder, header_of(train), failing(train, 8), 4)
    unfinished = tmp_path / ".f.unfinished"
    for name in (".shard-00002.parquet.999999999.part", ".shard-00009.parquet.999999999.part", "shard-00009.parquet"):
        (unfinished / name).write_bytes(b"PAR1")
    write(folder, header_of(train), blocks(train), 4)
    assert_holds(folder, train)


def test_a_folder_of_shards_is_replaced_and_any_other_refused(tmp_path):
    train = random_train(5)
    write(tmp_path / "f", header_of(train), blocks(train), 1)
    write(tmp_path / "f", header_of(train), blocks(train), 3)
    assert_holds(tmp_path / "f", train)
    (tmp_path / "f" / "letters.txt").write_text("dear")
    with pytest.raises(UserError, match=r"f: holds letters\.txt, so it is no folder of shards"):
        write(tmp_path / "f", header_of(train), blocks(train), 3)
    with pytest.raises(UserError, match=r"letters\.txt: is a file, not a folder of shards"):
        write(tmp_path / "f" / "letters.txt", header_of(train), blocks(train), 3)
    assert (tmp_path / "f" / "letters.txt").read_text() == "dear"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_other_datas_shards_are_never_replaced(tmp_path):
    """Text has shards of the same names. One of them among shards of events is enough."""
    train, folder = random_train(5), tmp_path / "f"
    write(folder, header_of(train), blocks(train), 3)
    store.write_parquet(folder / "shard-00002.parquet", pa.table({"text": ["dear"]}))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    asked = []
    with pytest.raises(UserError) as error:
        write(folder, header_of(train), lambda first: asked.append(first) or blocks(train)(first), 3)
    assert str(error.value).startswith(f"{folder}/shard-00002.parquet: holds no spike events")
    assert str(error.value).endswith("so its folder is not replaced; give another place")
    assert not asked
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_what_came_there_meanwhile_is_not_replaced_either(tmp_path):
    train, folder = random_train(5), tmp_path / "f"

    def behind(first):
        yield from blocks(train)(first)
        store.write_parquet(folder / "shard-00000.parquet", pa.table({"text": ["dear"]}))

    with pytest.raises(UserError, match="holds no spike events"):
        write(folder, header_of(train), behind, 9)
    assert pq.read_table(folder / "shard-00000.parquet").to_pydict() == {"text": ["dear"]}


def test_a_failure_before_the_first_whole_shard_leaves_nothing(tmp_path):
    train = random_train(11)
    with pytest.raises(UserError, match="no more"):
        write(tmp_path / "f", header_of(train), failing(train, 8), 9)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (8, "there are more than the 8 vectors that were announced"),
        (7, "there are more than the 7 vectors that were announced"),
        (11, "there are 10 vectors, not the 11 that were announced"),
        (13, "there are 10 vectors, not the 13 that were announced"),
    ],
)
@pytest.mark.parametrize("shard_rows", [4, 5, 20])
def test_another_number_of_vectors_than_announced(tmp_path, vectors, message, shard_rows):
    train = random_train(10)
    with pytest.raises(UserError, match=message):
        write(tmp_path / "f", header_of(train)._replace(vectors=vectors), blocks(train), shard_rows)
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(("rows", "shard_rows", "message"), [(5, 0, "0 rows a shard"), (0, 3, "no vectors to write")])
def test_nothing_to_write(tmp_path, rows, shard_rows, message):
    train = random_train(rows)
    with pytest.raises(UserError, match=message):
        write(tmp_path / "f", header_of(train), blocks(train), shard_rows)


def test_trains_of_another_shape_are_refused(tmp_path):
    train, other = random_train(4), random_train(4, neurons=14)
    with pytest.raises(UserError) as error:
        write(tmp_path / "f", header_of(train), lambda first: [Block(other)])
    assert "a train of 3 steps of 14 neurons without signs among those of 3 steps of 13 neurons" in str(error.value)
