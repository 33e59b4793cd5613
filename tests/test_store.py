import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline import store
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable


def embedding(words="abc", dims=4, **facts):
    values = np.random.default_rng(0).standard_normal((len(words), dims)).astype(np.float32)
    return EmbeddingTable(list(words), values, facts)


def half(path):
    path.write_text("half")
    raise ZeroDivisionError


# --- whole or not at all ---


def test_a_file_appears_whole_and_nothing_else_stays(tmp_path):
    target = tmp_path / "new" / "file.txt"
    with store.atomic_file(target) as path:
        path.write_text("whole")
        assert not target.exists()
        assert path.parent == target.parent  # the same file system, so that the rename is atomic
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["file.txt"]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    target, flushed = tmp_path / "file.txt", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(target.exists()))
    with store.atomic_file(target) as path:
        path.write_text("whole")
    assert flushed == [False]


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_a_file_has_the_permissions_that_the_umask_gives(tmp_path, umask):
    before = os.umask(umask)
    try:
        with store.atomic_file(tmp_path / "file.txt") as path:
            path.touch(mode=0o600)  # as safetensors does
    finally:
        os.umask(before)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_failure_leaves_the_old_file(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), store.atomic_file(target) as path:
        half(path)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_directory_replaces_the_old_one_whole(tmp_path):
    target = tmp_path / "shards"
    target.mkdir()
    (target / "old").touch()
    with store.atomic_directory(target) as path:
        (path / "new").touch()
        assert os.listdir(target) == ["old"]
    assert os.listdir(target) == ["new"]
    assert os.listdir(tmp_path) == ["shards"]
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_failure_leaves_the_old_directory(tmp_path):
    target = tmp_path / "shards"
    with store.atomic_directory(target) as path:
        (path / "old").touch()
    with pytest.raises(ZeroDivisionError), store.atomic_directory(target) as path:
        half(path / "new")
    assert os.listdir(target) == ["old"]
    assert os.listdir(tmp_path) == ["shards"]


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_after_kill_the_target_is_the_old_one_and_the_next_run_completes(tmp_path, kind):
    target = tmp_path / "target"
    body = "p.write_text('half')" if kind == "file" else "(p / 'half').touch()"
    code = (
        f"import os, signal; from pipeline import store\n"
        f"with store.atomic_{kind}({str(target)!r}) as p:\n    {body}; os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert not target.exists()
    with getattr(store, f"atomic_{kind}")(target) as path:
        (path if kind == "file" else path / "whole").write_text("whole")
    assert (target if kind == "file" else target / "whole").read_text() == "whole"


def test_json_comes_back_sorted(tmp_path):
    path = tmp_path / "a.json"
    store.write_json(path, {"b": [1, 2.5], "a": "é"})
    assert store.read_json(path) == {"b": [1, 2.5], "a": "é"}
    assert path.read_text().index('"a"') < path.read_text().index('"b"')


@pytest.mark.parametrize("content", [b"{", b"\xff"])
def test_what_is_not_json_is_refused_by_name(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json: not JSON"):
        store.read_json(path)
    with pytest.raises(UserError, match="no such file"):
        store.read_json(tmp_path / "none")


def test_a_lock_is_one_holders_and_vanishes_with_the_last(tmp_path):
    """Whoever waited for a file that its holder removed does not go on beside the holder of the next one."""
    path, inside, most = tmp_path / "new" / ".lock", [], []

    def work():
        for _ in range(40):
            with store.locked(path, "it"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0001)
                inside.pop()

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert most == [1] * 240
    assert not list(path.parent.iterdir())
    with pytest.raises(ZeroDivisionError), store.locked(path, "it"):
        half(tmp_path / "file")
    assert not path.exists()


# --- where things come from ---


def test_the_digest_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert store.digest(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_the_digest_of_a_directory_covers_names_and_contents(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(b"1")
    seen = [store.digest(tmp_path)]
    (tmp_path / "inner" / "a").write_bytes(b"2")
    seen.append(store.digest(tmp_path))
    (tmp_path / "inner" / "a").rename(tmp_path / "inner" / "b")
    seen.append(store.digest(tmp_path))
    assert len(set(seen)) == 3
    assert store.digest(tmp_path) == seen[-1]


def test_the_digest_of_an_array_covers_type_shape_and_values():
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    same = np.asfortranarray(array)
    others = [array.reshape(3, 2), array.view(np.uint32), array + 1]
    assert store.array_digest(array) == store.array_digest(same)
    assert len({store.array_digest(x) for x in [array, *others]}) == 4


def test_versions_name_this_package_and_those_asked_for():
    assert store.versions("numpy") == {
        "spikes-and-bits": store.metadata.version("spikes-and-bits"),
        "numpy": np.__version__,
    }


# --- Parquet ---


def test_a_table_comes_back_with_its_facts(tmp_path):
    path = tmp_path / "a.parquet"
    store.write_parquet(path, pa.table({"x": [1, 2], "y": ["a", "b"]}), {"source": "here"})
    table = store.read_parquet(path, ["y"])
    assert table.column_names == ["y"]
    assert table.column("y").to_pylist() == ["a", "b"]
    assert table.schema.metadata[b"source"] == b"here"
    assert store.read_parquet(path).num_columns == 2
    assert os.listdir(tmp_path) == ["a.parquet"]


def test_facts_are_added_to_those_of_the_table(tmp_path):
    table = pa.table({"x": [1]}).replace_schema_metadata({"old": "1"})
    store.write_parquet(tmp_path / "a.parquet", table, {"new": "2"})
    assert store.read_parquet(tmp_path / "a.parquet").schema.metadata == {b"old": b"1", b"new": b"2"}


def test_missing_truncated_and_damaged_files_are_refused_by_name(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(UserError, match=r"a\.parquet: no such file"):
        store.read_parquet(path)
    numbers = pa.table({"x": np.random.default_rng(0).integers(0, 1000, 10_000)})
    store.write_parquet(path, numbers, use_dictionary=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"a\.parquet: not a whole Parquet file"):
        store.read_parquet(path)
    path.write_bytes(whole[:100] + b"\xff" * 2000 + whole[2100:])
    with pytest.raises(UserError, match=r"a\.parquet: damaged Parquet file"):
        store.read_parquet(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.parquet: not a whole Parquet file"):
        store.read_parquet(path)


def test_a_missing_column_is_named_with_those_there_are(tmp_path):
    store.write_parquet(tmp_path / "a.parquet", pa.table({"x": [1], "y": [2]}))
    with pytest.raises(UserError, match="no column 'z'; it has x, y"):
        store.open_parquet(tmp_path / "a.parquet", ["x", "z"])


def test_shards_are_in_order_and_none_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"no shard-\*\.parquet"):
        store.shards(tmp_path)
    for number in (10, 2, 0):
        (tmp_path / store.shard_name(number)).touch()
    (tmp_path / ".shard-00005.parquet.7.part").touch()
    assert [path.name for path in store.shards(tmp_path)] == [f"shard-{n:05d}.parquet" for n in (0, 2, 10)]


def test_a_flipped_bit_of_a_value_is_noticed(tmp_path):
    """Stored plain and incompressible, so that Parquet itself has nothing that could tell."""
    values = np.random.default_rng(0).integers(0, 2**62, 500)
    store.write_parquet(tmp_path / "a.parquet", pa.table({"value": values}), use_dictionary=False)
    whole = (tmp_path / "a.parquet").read_bytes()
    place = whole.index(values[250].tobytes())
    (tmp_path / "a.parquet").write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    with pytest.raises(UserError, match=r"a\.parquet: damaged Parquet file"):
        store.read_parquet(tmp_path / "a.parquet")


# --- embedding tables ---


def test_an_embedding_comes_back_bit_for_bit_with_its_facts(tmp_path):
    table = embedding(["the", "café", "New York"], source="here", licence="CC0")
    store.write_embedding(tmp_path / "e.parquet", table)
    again = store.read_embedding(tmp_path / "e.parquet")
    assert again.words == table.words
    assert again.vectors.dtype == np.float32
    np.testing.assert_array_equal(again.vectors.view(np.uint32), table.vectors.view(np.uint32))
    assert again.facts == table.facts


def test_the_schema_is_the_contract(tmp_path):
    store.write_embedding(tmp_path / "e.parquet", embedding())
    schema = pq.read_schema(tmp_path / "e.parquet")
    assert schema.names == ["word", "vector"]
    assert schema.field("word").type == pa.string()
    assert pa.types.is_fixed_size_list(schema.field("vector").type)
    assert schema.field("vector").type.value_type == pa.float32()
    assert schema.field("vector").type.list_size == 4


def test_a_transposed_array_is_written_by_rows(tmp_path):
    values = np.arange(1, 7, dtype=np.float32).reshape(2, 3).T
    store.write_embedding(tmp_path / "e.parquet", EmbeddingTable(["a", "b", "c"], values))
    np.testing.assert_array_equal(store.read_embedding(tmp_path / "e.parquet").vectors, values)


def test_rows_give_the_row_of_each_word():
    assert embedding("cab").rows() == {"c": 0, "a": 1, "b": 2}


@pytest.mark.parametrize(
    "vectors", [np.zeros((2, 3), np.float64), np.zeros(3, np.float32), np.zeros((3, 3), np.float32)]
)
def test_a_table_of_another_shape_or_type_cannot_be_made(vectors):
    with pytest.raises(ValueError, match="2 words"):
        EmbeddingTable(["a", "b"], vectors)


def broken(**cells):
    table = embedding()
    for row, value in cells.items():
        table.vectors[int(row[1:])] = value
    return table


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (broken(r1=np.nan), r"row 1 \('b'\) holds NaN or infinity"),
        (broken(r2=[1, 2, -np.inf, 3]), r"row 2 \('c'\) holds NaN or infinity"),
        (broken(r2=0), r"row 2 \('c'\) is a zero vector"),
        (embedding("aba"), "the word 'a' stands twice, in rows 0 and 2"),
        (embedding(["a", ""]), "row 1 has an empty word"),
        (embedding([]), "holds nothing"),
        (embedding("ab", dims=0), "holds nothing"),
    ],
)
def test_an_unusable_row_is_named_and_nothing_is_written(tmp_path, table, said):
    with pytest.raises(UserError, match=f"name: .*{said}"):
        store.check_embedding(table, "name")
    with pytest.raises(UserError, match=said):
        store.write_embedding(tmp_path / "e.parquet", table)
    assert not os.listdir(tmp_path)


def test_an_unusable_row_is_found_when_reading_too(tmp_path):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 0, 0], pa.float32()), 2)
    store.write_parquet(tmp_path / "e.parquet", pa.table({"word": ["a", "b"], "vector": vectors}))
    with pytest.raises(UserError, match=r"e\.parquet: row 1 \('b'\) is a zero vector"):
        store.read_embedding(tmp_path / "e.parquet")


def test_a_row_without_a_vector_is_named(tmp_path):
    vectors = pa.array([[1, 2], None], pa.list_(pa.float32(), 2))
    store.write_parquet(tmp_path / "e.parquet", pa.table({"word": ["a", "b"], "vector": vectors}))
    with pytest.raises(UserError, match=r"e\.parquet: row 1 has no vector"):
        store.read_embedding(tmp_path / "e.parquet")


def test_vectors_of_another_type_are_refused(tmp_path):
    store.write_parquet(tmp_path / "e.parquet", pa.table({"word": ["a"], "vector": [[1.0, 2.0]]}))
    with pytest.raises(UserError, match=r"column 'vector' is list<.*>, not fixed_size_list<float32>"):
        store.read_embedding(tmp_path / "e.parquet")


@given(
    arrays(
        np.float32,
        (5, 3),
        elements=st.floats(-(2.0**100), 2.0**100, width=32).map(lambda x: x if abs(x) > 1e-18 else 0),
    )
)
def test_unit_rows_have_length_1_and_their_direction(vectors):
    units = store.unit_rows(vectors)
    assert units.dtype == np.float32
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), norms > 0, atol=1e-6)
    np.testing.assert_allclose(units, vectors / np.where(norms, norms, 1)[:, None], atol=1e-6)


def test_what_a_dead_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    for part in (f".table.{dead.pid}.part", f".table.{os.getppid()}.part"):
        (tmp_path / part).write_text("half")
    for part in (f".table.{dead.pid}.abcd.part", f".table.{os.getppid()}.abcd.part"):
        (tmp_path / part).mkdir()
    with store.atomic_file(tmp_path / "table") as path:
        path.write_text("whole")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [f".table.{os.getppid()}.abcd.part", f".table.{os.getppid()}.part", "table"]


def test_an_embedding_without_a_word_or_vector_is_named_by_its_row(tmp_path):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(4, np.float32)), 2)
    missing = pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2))
    for words, column, message in (
        (["a", None], vectors, "row 1 has no word"),
        (["a", "b"], missing, "row 1 has no vector"),
        ([1, 2], vectors, "column 'word' is int64, not string"),
    ):
        pq.write_table(pa.table({"word": words, "vector": column}), tmp_path / "table.parquet")
        with pytest.raises(UserError, match=rf"table\.parquet: {message}"):
            store.read_embedding(tmp_path / "table.parquet")


def test_a_directory_is_replaced_whole(tmp_path):
    for text in ("old", "new"):
        with store.atomic_directory(tmp_path / "table") as folder:
            (folder / text).write_text(text)
            assert not (tmp_path / "table/new").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["table", "new"]


def test_a_column_that_stands_twice_is_named(tmp_path):
    pq.write_table(
        pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["word", "word"]), tmp_path / "twice.parquet"
    )
    with pytest.raises(UserError, match=r"twice\.parquet: more than one column 'word'; it has word, word"):
        store.open_parquet(tmp_path / "twice.parquet", ["word"])
