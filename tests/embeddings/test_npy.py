import json

import numpy as np
import pytest

from pipeline.embeddings import npy
from pipeline.embeddings.npy import read
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError
from pipeline.store import digest

VECTORS = np.array([[1, 2.5], [-3, 0.1], [5, 1e-3]])


@pytest.fixture
def given(tmp_path):
    def load(vectors=VECTORS, words=b"the\nParis\ncaf\xc3\xa9\n", vocabulary=None, **options):
        path = tmp_path / "x.npy"
        path.write_bytes(vectors) if isinstance(vectors, bytes) else np.save(path, vectors, allow_pickle=True)
        if words is not None:
            (tmp_path / "x.txt").write_bytes(words)
            options["words"] = str(tmp_path / "x.txt")
        asked = Vocabulary(vocabulary) if vocabulary is not None else None
        return read(asked, {"path": str(path), **options})

    return load


@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("block_rows", [1, 2, 1024])
def test_values_are_those_of_the_array_as_float32(given, monkeypatch, kind, order, block_rows):
    monkeypatch.setattr(npy, "BLOCK_ROWS", block_rows)
    vectors = np.asarray(VECTORS.astype(kind), order=order)
    table = given(vectors)
    assert table.words == ["the", "Paris", "café"]
    assert table.vectors.dtype == np.float32
    np.testing.assert_array_equal(table.vectors, vectors.astype(np.float32))


def test_the_vocabulary_in_its_order(given):
    table = given(vocabulary=["café", "dog", "paris"])
    assert table.words == ["café", "paris"]
    np.testing.assert_array_equal(table.vectors, VECTORS[[2, 1]].astype(np.float32))
    assert (table.facts["words_missing"], table.facts["words_found_in_other_case"]) == ("1", "1")


def test_facts(given, tmp_path):
    table = given(licence="MIT")
    assert (table.facts["source"], table.facts["model"], table.facts["licence"]) == ("npy", "x.npy", "MIT")
    assert json.loads(table.facts["digests"]) == {name: digest(tmp_path / name) for name in ("x.npy", "x.txt")}


def test_without_words_rows_are_numbered_and_no_vocabulary_can_be_asked_for(given):
    assert given(words=None).words == ["0", "1", "2"]
    with pytest.raises(UserError, match=r"without option words .*`vocabulary: all` beside `source`"):
        given(words=None, vocabulary=["0"])


def test_windows_line_ends_and_a_last_line_without_one(given):
    assert given(words=b"the\r\nParis\r\nx").words == ["the", "Paris", "x"]


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code in a file was run",))


def saved(tmp_path, array):
    np.save(tmp_path / "y.npy", array, allow_pickle=True)
    return (tmp_path / "y.npy").read_bytes()


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (np.array([[1, 2], [1, np.nan], [0, 0]]), r"x.npy: row 1 \('Paris'\): NaN or infinity"),
        (np.array([[1, 2], [3, 4], [0, -0.0]]), r"x.npy: row 2 \('café'\): a zero vector"),
        (np.array([[1, 2], [3, 4], [0, 1e300]]), r"x.npy: row 2 \('café'\): NaN or infinity"),
        (np.ones(3), r"x.npy: an array of shape \(3,\), not rows x dimensions"),
        (np.ones((3, 2, 1)), r"an array of shape \(3, 2, 1\)"),
        (np.ones((0, 2)), r"an array of shape \(0, 2\)"),
        (np.ones((3, 2), int), "values of type int64, not float16, float32 or float64"),
        (np.ones((3, 2), complex), "values of type complex128"),
        (np.ones((3, 2), np.longdouble), "values of type (float128|longdouble)"),
        (np.ones((2, 2)), "x.npy: 2 rows, but 3 words"),
        (np.array([[Bomb()]], object), "x.npy: not a whole .npy file"),
        (b"", "x.npy: not a whole .npy file"),
        (b"the 1 2\n", "x.npy: not a whole .npy file"),
    ],
)
def test_bad_arrays_are_refused_by_file_and_row(given, vectors, said):
    with pytest.raises(UserError, match=said) as error:
        given(vectors)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [5, 60, -1])
def test_a_truncated_array_is_refused(given, tmp_path, kept):
    with pytest.raises(UserError, match=r"x\.npy: not a whole \.npy file"):
        given(saved(tmp_path, VECTORS)[:kept])


def test_an_archive_is_refused(given, tmp_path):
    np.savez(tmp_path / "y.npz", VECTORS)
    with pytest.raises(UserError, match=r"x\.npy: an archive of arrays \(\.npz\)"):
        given((tmp_path / "y.npz").read_bytes())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (b"a\nb\n", "x.npy: 3 rows, but 2 words"),
        (b"a\n\nb\n", "x.txt: line 2: empty"),
        (b"a\nb\xff\nc\n", "x.txt: line 2: the word is not UTF-8"),
        (b"a\nb\na\n", "x.npy: row 2: the word 'a' stands already in row 0"),
    ],
)
def test_bad_words_are_refused_by_file_and_line(given, words, said):
    with pytest.raises(UserError, match=said):
        given(words=words)


def test_missing_files_and_wrong_options_are_refused(tmp_path, given):
    with pytest.raises(UserError, match=r"none\.npy: cannot be read \(No such file"):
        read(None, {"path": str(tmp_path / "none.npy")})
    with pytest.raises(UserError, match=r"none\.txt: cannot be read \(No such file"):
        read(None, {"path": str(tmp_path / "x.npy"), "words": str(tmp_path / "none.txt")})
    with pytest.raises(UserError, match="option words must be a string, not 3"):
        read(None, {"path": "x.npy", "words": 3})


def test_a_byte_order_mark_is_not_part_of_the_first_word(tmp_path):
    np.save(tmp_path / "v.npy", np.ones((2, 3), np.float32))
    (tmp_path / "w.txt").write_bytes("\ufeffcat\ndog\n".encode())
    assert read(None, {"path": str(tmp_path / "v.npy"), "words": str(tmp_path / "w.txt")}).words == ["cat", "dog"]
