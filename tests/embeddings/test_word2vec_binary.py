import gzip
import json
from types import SimpleNamespace

import numpy as np
import pytest
from gensim.models import KeyedVectors
from gensim.test.utils import datapath
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.embeddings import word2vec_binary
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.embeddings.word2vec_binary import read
from pipeline.stage import UserError
from pipeline.store import digest


def row(word, *values, end=b"\n"):
    return word + b" " + np.array(values, "<f4").tobytes() + end


GOOD = b"3 2\n" + row(b"the", 1, 2) + row(b"Paris", -0.5, 1e-3) + row("é".encode(), 3, 4)


@pytest.fixture
def given_bytes(tmp_path):
    def load(content, vocabulary=None, name="table.bin", **options):
        (tmp_path / name).write_bytes(content)
        words = Vocabulary(vocabulary) if vocabulary is not None else None
        return read(words, {"path": str(tmp_path / name), **options})

    return SimpleNamespace(read=load, folder=tmp_path)


def test_a_real_file_as_gensim_reads_it():
    path = datapath("euclidean_vectors.bin")
    peer = KeyedVectors.load_word2vec_format(path, binary=True)
    table = read(None, {"path": path})
    assert table.words == peer.index_to_key
    np.testing.assert_array_equal(table.vectors, peer.vectors)


@pytest.mark.parametrize("name", ["table.bin", "table.bin.gz"])
@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize("block_bytes", [1, 100, 1 << 20])
def test_what_gensim_and_word2vec_write_in_blocks_of_any_size(given_bytes, monkeypatch, name, end, block_bytes):
    monkeypatch.setattr(word2vec_binary, "BLOCK_BYTES", block_bytes)
    peer = KeyedVectors(7)
    words = [f"{'wörd' * (i % 5)}{i}" for i in range(300)]
    peer.add_vectors(words, np.random.default_rng(0).normal(size=(300, 7)).astype(np.float32))
    peer.save_word2vec_format(str(given_bytes.folder / "peer.bin"), binary=True)
    content = b"300 7\n" + b"".join(row(w.encode(), *v, end=end) for w, v in zip(words, peer.vectors, strict=True))
    assert end or content == (given_bytes.folder / "peer.bin").read_bytes()
    table = given_bytes.read(gzip.compress(content) if name.endswith("gz") else content, name=name)
    assert table.words == words
    np.testing.assert_array_equal(table.vectors, peer.vectors)


@given(st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=5))
@example([b"\x00\x00\x00\x00\x00\x00\x81\x7f"])  # a NaN that signals
def test_values_of_any_bytes_come_back_or_are_refused_by_row(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("bytes") / "x.bin"
    path.write_bytes(b"%d 2\n" % len(values) + b"".join(b"w%d " % i + value for i, value in enumerate(values)))
    bits = np.frombuffer(b"".join(values), "<f4").reshape(-1, 2)
    bad = next((i for i, v in enumerate(bits) if not np.isfinite(v).all() or not v.any()), None)
    if word2vec_binary.TEXT.fullmatch(values[0]):
        return
    if bad is None:
        assert read(None, {"path": str(path)}).vectors.tobytes() == bits.tobytes()
    else:
        with pytest.raises(UserError, match=rf"row {bad} \('w{bad}'\)"):
            read(None, {"path": str(path)})


def test_the_vocabulary_in_its_order_and_another_case_lent(given_bytes):
    table = given_bytes.read(GOOD, ["é", "dog", "paris"])
    assert table.words == ["é", "paris"]
    np.testing.assert_array_equal(table.vectors, np.array([[3, 4], [-0.5, 1e-3]], np.float32))
    assert table.facts["words_missing"] == "1"
    assert table.facts["words_found_in_other_case"] == "1"
    assert table.facts["source"] == "word2vec_binary"
    assert json.loads(table.facts["digests"]) == {"table.bin": digest(given_bytes.folder / "table.bin")}


TWO = b"2 2\n" + row(b"a", 1, 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GOOD[:-4], "row 2: the file ends in it, and its header promises 3: truncated"),
        (TWO, "row 1: the file ends in it"),
        (TWO + b"b", "row 1: the file ends in it"),
        (GOOD + row(b"more", 1, 2), "goes on behind the 3 rows"),
        (b"9 2\n" + GOOD[4:], "row 3: the file ends in it"),
        (b"3 3\n" + GOOD[4:], "row"),
        (b"2 2\n" + row(b"a", 1, 2) + b"\xff" * 5000, "row 1: no word and a space"),
        (TWO + row(b"b", 1, np.nan), r"row 1 \('b'\): NaN or infinity"),
        (TWO + row(b"b", -np.inf, 1), r"row 1 \('b'\): NaN or infinity"),
        (TWO + row(b"b", 0, -0.0), r"row 1 \('b'\): a zero vector"),
        (TWO + row(b"\xff", 1, 1), "row 1: the word is not UTF-8"),
        (TWO + row(b"", 1, 1), "row 1: an empty word"),
        (TWO + row(b"a", 3, 3), "row 1: the word 'a' stands already in row 0"),
        (b"3 2\n" + row(b"a", 1, 2) * 2 + row(b"b", 0, 0), "row 1: the word 'a' stands already in row 0"),
        (b"3 2\n" + row(b"a", 1, 2) + row(b"\xff", 0, 0) + row(b"a", 1, 2), "row 1: the word is not UTF-8"),
        (b"1 8\na" + b" 0.12345" * 8 + b"\n", "row 0: its values are text; give source word2vec_text"),
        (b"", "does not begin with the line"),
        (b"2 2" + b" " * 99, "does not begin with the line"),
        (b"\x00" * 99, "does not begin with the line"),
        (b"a 1 2\n", "does not begin with the line"),
        (b"0 2\n", "0 rows of 2 values"),
        (b"2 0\n", "2 rows of 0 values"),
        (b"9999999999999 2\n", "line 1: a header of numbers of more than 12 digits"),
    ],
)
def test_bad_files_are_refused_by_file_and_row(given_bytes, content, said):
    with pytest.raises(UserError, match=said) as error:
        given_bytes.read(content)
    assert str(error.value).startswith(f"{given_bytes.folder}/table.bin: ")
    assert "\n" not in str(error.value)


def test_faults_are_found_in_rows_that_nobody_wants_too(given_bytes):
    with pytest.raises(UserError, match=r"row 1 \('b'\): NaN"):
        given_bytes.read(TWO + row(b"b", 1, np.nan), ["a"])


def test_the_first_of_duplicate_words_wins_where_it_is_asked_for(given_bytes):
    table = given_bytes.read(TWO + row(b"a", 3, 4), duplicates="first")
    assert table.words == ["a"]
    np.testing.assert_array_equal(table.vectors, [[1, 2]])


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"none\.bin: cannot be read \(No such file"):
        read(None, {"path": str(tmp_path / "none.bin")})
