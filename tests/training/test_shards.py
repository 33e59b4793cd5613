import contextlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, unit_rows, write_embedding
from pipeline.training.sampler import Batches
from pipeline.training.shards import Tokens, Vectors


def write_vectors(path, vectors, rows_a_group):
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    pq.write_table(pa.table({"vector": column}), path, row_group_size=rows_a_group)


def write_tokens(path, documents, rows_a_group=1000, **how):
    table = pa.table(
        {"id": [str(n) for n in range(len(documents))], "tokens": pa.array(documents, pa.list_(pa.int32()))}
    )
    pq.write_table(table, path, row_group_size=rows_a_group, **how)


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)


@pytest.fixture
def paths(tmp_path, vectors):
    found = [tmp_path / "shard-00000.parquet", tmp_path / "shard-00001.parquet"]
    write_vectors(found[0], vectors[:30], 12)
    write_vectors(found[1], vectors[30:], 12)
    return found


def read_all(source):
    return np.concatenate([source.read(piece) for piece in range(len(source.sizes))])


def test_vectors_come_back_row_group_by_row_group(paths, vectors):
    source = Vectors(paths, unit=False)
    assert source.dims == 6
    assert source.sizes == [12, 12, 6, 12, 8]
    np.testing.assert_array_equal(read_all(source), vectors)
    np.testing.assert_array_equal(read_all(Vectors(paths)), unit_rows(vectors))


def test_chosen_rows_alone_are_samples(paths, vectors):
    rows = np.array([0, 11, 12, 29, 30, 49])
    source = Vectors(paths, rows, unit=False)
    assert source.sizes == [2, 1, 1, 1, 1]
    np.testing.assert_array_equal(read_all(source), vectors[rows])
    assert source.identity != Vectors(paths, rows[1:], unit=False).identity


def test_an_embedding_table_is_a_shard(tmp_path, vectors):
    write_embedding(tmp_path / "t.parquet", EmbeddingTable([f"w{n}" for n in range(50)], vectors))
    np.testing.assert_array_equal(read_all(Vectors([tmp_path / "t.parquet"], unit=False)), vectors)


documents = st.lists(st.lists(st.integers(0, 9), max_size=7), min_size=1, max_size=9)


@given(documents, st.integers(1, 4), st.booleans())
def test_tokens_are_laid_end_to_end_and_cut(tmp_path_factory, found, length, statistics):
    path = tmp_path_factory.mktemp("tokens") / "shard.parquet"
    write_tokens(path, found, rows_a_group=4, write_statistics=statistics)
    source = Tokens([path], length)
    for piece, start in enumerate(range(0, len(found), 4)):
        flat = [token for document in found[start : start + 4] for token in document]
        blocks = [flat[at : at + length] for at in range(0, len(flat) - length + 1, length)]
        assert source.sizes[piece] == len(blocks)
        assert source.read(piece).tolist() == blocks
        assert source.read(piece).dtype == np.int32


def test_tokens_are_counted_without_being_read(tmp_path, monkeypatch):
    write_tokens(tmp_path / "shard.parquet", [[1, 2], [], [3, 4, 5]])
    monkeypatch.setattr("pipeline.training.shards.read_group", None)
    assert Tokens([tmp_path / "shard.parquet"], 2).sizes == [2]


def test_a_shard_that_vanishes_in_mid_epoch_is_named(paths):
    batches = Batches(Vectors(paths), 10, 12, 0).epoch(0, 0, np.arange(10))
    next(batches)
    paths[1].unlink()
    with pytest.raises(UserError, match=r"shard-00001\.parquet: no such file"):
        list(batches)


def test_a_shard_that_is_written_anew_in_mid_epoch_is_named(paths, vectors, tmp_path):
    source = Vectors(paths)
    write_vectors(paths[1], vectors[:19], 12)
    assert len(source.read(3)) == 12  # as many rows as before
    with pytest.raises(UserError, match=r"shard-00001\.parquet: has changed since training began"):
        source.read(4)
    write_vectors(paths[1], vectors[:12], 12)
    with pytest.raises(UserError, match=r"shard-00001\.parquet: has changed"):
        source.read(4)
    write_tokens(tmp_path / "t.parquet", [[1, 2], [3]])
    tokens = Tokens([tmp_path / "t.parquet"], 1)
    write_tokens(tmp_path / "t.parquet", [[1, 2], []])
    with pytest.raises(UserError, match=r"t\.parquet: has changed"):
        tokens.read(0)


def test_shards_that_are_cut_short_are_named(paths):
    source = Vectors(paths)
    whole = paths[0].read_bytes()
    paths[0].write_bytes(whole[:4] + b"\xff" * 60 + whole[64:])
    with pytest.raises(UserError, match=r"shard-00000\.parquet: damaged"):
        source.read(0)
    paths[0].write_bytes(whole[:100])
    with pytest.raises(UserError, match=r"shard-00000\.parquet: not a whole Parquet file"):
        source.read(0)


def test_values_that_cannot_be_trained_on_are_named(tmp_path, vectors):
    vectors[13, 2] = np.nan
    write_vectors(tmp_path / "v.parquet", vectors, 12)
    with pytest.raises(UserError, match=r"v\.parquet: row 1 of row group 1 holds NaN"):
        Vectors([tmp_path / "v.parquet"]).read(1)
    write_tokens(tmp_path / "t.parquet", [[1, 2], None])
    with pytest.raises(UserError, match=r"t\.parquet: row 1 of row group 0 is null"):
        Tokens([tmp_path / "t.parquet"], 2).read(0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(500, "holds token 500, expected 0 to 9"), (-3, "holds token -3, expected 0 to 9"), (None, "holds a null token")],
)
@pytest.mark.parametrize("statistics", [True, False])
def test_tokens_outside_the_vocabulary_are_named_as_soon_as_they_can_be_seen(tmp_path, wrong, said, statistics):
    write_tokens(tmp_path / "t.parquet", [[1, 2], [3, 9], [5], [6, wrong]], rows_a_group=2, write_statistics=statistics)

    def tokens():
        return Tokens([tmp_path / "t.parquet"], 1, vocabulary=10)

    if not statistics:
        source = tokens()
        assert source.read(0)[:, 0].tolist() == [1, 2, 3, 9]
    with pytest.raises(UserError, match=rf"t\.parquet: row 1 of row group 1 {said}"):
        source.read(1) if not statistics else tokens()
    with pytest.raises(UserError) if wrong is None else contextlib.nullcontext():
        Tokens([tmp_path / "t.parquet"], 1).read(1)  # without a vocabulary any token will do


def test_columns_of_another_type_are_refused(tmp_path, paths, vectors):
    doubles = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(12)), 6)
    pq.write_table(pa.table({"vector": doubles, "tokens": pa.array([[1.0]] * 2)}), tmp_path / "o.parquet")
    with pytest.raises(UserError, match=r"o\.parquet: column 'vector' is fixed_size_list.*double.*, not"):
        Vectors([tmp_path / "o.parquet"])
    with pytest.raises(UserError, match=r"o\.parquet: column 'tokens' is list.*, not list<int32>"):
        Tokens([tmp_path / "o.parquet"], 2)
    write_vectors(tmp_path / "short.parquet", vectors[:, :5], 12)
    with pytest.raises(UserError, match=r"short\.parquet: its vectors are not as long as those of .*shard-00000"):
        Vectors([*paths, tmp_path / "short.parquet"])


def test_other_shards_are_other_data(paths, vectors):
    before = Vectors(paths).identity
    assert before == Vectors(paths).identity
    assert before != Vectors(paths, unit=False).identity
    assert before != Vectors(paths[:1]).identity
    write_vectors(paths[1], vectors[30:], 5)
    assert before != Vectors(paths).identity
