import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.embeddings import parquet
from pipeline.embeddings.parquet import read
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, digest, write_embedding

WORDS = ["the", "Paris", "café", "d", "e"]
VECTORS = np.random.default_rng(0).normal(size=(5, 3))


def lists(vectors, kind):
    return pa.array([None if vector is None else list(vector) for vector in vectors], kind)


def write(path, words=WORDS, vectors=VECTORS, kind=None, names=("word", "vector")):
    columns = [words, lists(vectors, kind or pa.list_(pa.float32()))]
    pq.write_table(pa.table(columns, names=list(names)), path, row_group_size=2)
    return str(path)


@pytest.mark.parametrize("value", [pa.float16(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("of", [pa.list_, pa.large_list, lambda value: pa.list_(value, 3)])
@pytest.mark.parametrize("batch_rows", [2, 1024])
def test_values_are_those_of_the_column_as_float32(tmp_path, monkeypatch, value, of, batch_rows):
    monkeypatch.setattr(parquet, "BATCH_ROWS", batch_rows)
    vectors = VECTORS.astype(value.to_pandas_dtype())
    table = read(None, {"path": write(tmp_path / "x.parquet", vectors=vectors, kind=of(value))})
    assert table.words == WORDS
    assert table.vectors.dtype == np.float32
    np.testing.assert_array_equal(table.vectors, vectors.astype(np.float32))


def test_a_table_of_our_own_comes_back(tmp_path):
    write_embedding(tmp_path / "x.parquet", EmbeddingTable(WORDS, VECTORS.astype(np.float32)))
    table = read(None, {"path": str(tmp_path / "x.parquet"), "licence": "MIT"})
    np.testing.assert_array_equal(table.vectors, VECTORS.astype(np.float32))
    assert (table.facts["source"], table.facts["model"], table.facts["licence"]) == ("parquet", "x.parquet", "MIT")
    assert json.loads(table.facts["digests"]) == {"x.parquet": digest(tmp_path / "x.parquet")}


@pytest.mark.parametrize("path", ["", "*.parquet", "[ab].parquet", "**/*.parquet"])
def test_shards_are_read_in_the_order_of_their_names(tmp_path, path):
    write(tmp_path / "b.parquet", WORDS[2:], VECTORS[2:])
    write(tmp_path / "a.parquet", WORDS[:2], VECTORS[:2], pa.large_list(pa.float64()))
    (tmp_path / "notes.txt").write_text("no shard")
    table = read(None, {"path": str(tmp_path / path)})
    assert table.words == WORDS
    np.testing.assert_array_equal(table.vectors, VECTORS.astype(np.float32))
    assert sorted(json.loads(table.facts["digests"])) == ["a.parquet", "b.parquet"]


def test_the_vocabulary_in_its_order_from_columns_of_other_names(tmp_path):
    path = write(tmp_path / "x.parquet", names=("token", "embedding"))
    table = read(Vocabulary(["e", "dog", "paris"]), {"path": path, "word": "token", "vector": "embedding"})
    assert table.words == ["e", "paris"]
    np.testing.assert_array_equal(table.vectors, VECTORS[[4, 1]].astype(np.float32))
    assert (table.facts["words_missing"], table.facts["words_found_in_other_case"]) == ("1", "1")


def test_without_a_column_of_words_rows_are_numbered_over_all_shards(tmp_path):
    write(tmp_path / "a.parquet", WORDS[:3], VECTORS[:3])
    write(tmp_path / "b.parquet", WORDS[3:], VECTORS[3:])
    assert read(None, {"path": str(tmp_path), "word": None}).words == ["0", "1", "2", "3", "4"]
    with pytest.raises(UserError, match=r"without option word .*`vocabulary: all` beside `source`"):
        read(Vocabulary(["0"]), {"path": str(tmp_path), "word": None})


def changed(row, value):
    vectors = [list(vector) for vector in VECTORS]
    vectors[row] = value
    return {"vectors": vectors}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed(3, [1, 2]), r"row 3 \('d'\): 2 values, expected 3"),
        (changed(0, [1, 2]), r"row 1 \('Paris'\): 3 values, expected 2"),
        (changed(3, []), r"row 3 \('d'\): 0 values, expected 3"),
        (changed(0, []), r"row 0 \('the'\): 0 values, expected 3"),
        (changed(3, None), r"row 3 \('d'\): no vector"),
        (changed(3, [1, None, 2]), r"row 3 \('d'\): a value is missing"),
        (changed(3, [1, np.nan, 2]), r"row 3 \('d'\): NaN or infinity"),
        (changed(3, [1, 1e39, 2]) | {"kind": pa.list_(pa.float64())}, r"row 3 \('d'\): NaN or infinity"),
        (changed(3, [0, 0, 0]), r"row 3 \('d'\): a zero vector"),
        (changed(3, None) | {"kind": pa.list_(pa.float32(), 3)}, r"row 3 \('d'\): no vector"),
        ({"words": ["a", "b", "c", None, "e"]}, "row 3: no word"),
        ({"words": ["a", "b", "c", "", "e"]}, "row 3: an empty word"),
        ({"words": ["a", "b", "c", "b", "e"]}, "row 3: the word 'b' stands already in row 1"),
        ({"words": ["a", "a", "c", "b", ""]}, "row 1: the word 'a' stands already in row 0"),
        (changed(0, [0, 0, 0]) | {"words": ["a", "b", "c", "b", ""]}, r"row 0 \('a'\): a zero vector"),
        ({"words": pa.array([], pa.string()), "vectors": []}, "no row in it"),
        ({"names": ("text", "v")}, "no column 'word'; it has text, v"),
        ({"names": ("word", "v")}, "no column 'vector'; it has word, v"),
        ({"words": [1, 2, 3, 4, 5]}, "column 'word' is int64, not string"),
        (
            {"kind": pa.list_(pa.int32()), "vectors": [[1]] * 5},
            "column 'vector' is list<.*int32.*>, not a list of float",
        ),
    ],
)
@pytest.mark.parametrize("batch_rows", [2, 1024])
def test_bad_files_are_refused_by_file_and_row(tmp_path, monkeypatch, content, said, batch_rows):
    monkeypatch.setattr(parquet, "BATCH_ROWS", batch_rows)
    path = write(tmp_path / "x.parquet", **content)
    with pytest.raises(UserError, match=said) as error:
        read(None, {"path": path})
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_shards_of_different_dimensions_and_a_word_in_two_are_refused_with_the_second_file(tmp_path):
    write(tmp_path / "a.parquet", ["a", "b"], VECTORS[:2])
    write(tmp_path / "b.parquet", ["c", "d"], VECTORS[2:4, :2])
    with pytest.raises(UserError, match=r"b\.parquet: row 0 \('c'\): 2 values, expected 3"):
        read(None, {"path": str(tmp_path)})
    write(tmp_path / "b.parquet", ["c", "a"], VECTORS[2:4])
    with pytest.raises(UserError, match=r"b\.parquet: row 1: the word 'a' stands already in row 0 of .*a\.parquet"):
        read(None, {"path": str(tmp_path)})
    assert read(None, {"path": str(tmp_path), "duplicates": "first"}).words == ["a", "b", "c"]


def test_words_that_are_not_utf8_are_refused(tmp_path):
    bad = pa.array([b"a", b"b", b"\xff", b"d", b"e"]).view(pa.string())
    with pytest.raises(UserError, match=r"x\.parquet: damaged Parquet file \(.*UTF8"):
        read(None, {"path": write(tmp_path / "x.parquet", words=bad)})


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    write(path)
    whole = path.read_bytes()
    for content in (whole[:-10], b"", b"the 1 2\n", whole[:4] + bytes(60) + whole[64:]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"x\.parquet: (not a whole|damaged) Parquet file") as error:
            read(None, {"path": str(path)})
        assert "\n" not in str(error.value)


def test_missing_files_and_wrong_options_are_refused(tmp_path):
    for name in ("none.parquet", "*.parquet", ""):
        with pytest.raises(UserError, match="no Parquet file there"):
            read(None, {"path": str(tmp_path / name)})
    with pytest.raises(UserError, match="option word must be a column's name or null, not 3"):
        read(None, {"path": "x", "word": 3})
    with pytest.raises(UserError, match="option vector must be a column's name, not None"):
        read(None, {"path": "x", "vector": None})
