import gzip
import json
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gensim.models import KeyedVectors
from gensim.test.utils import datapath
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embeddings.text_blocks import BLOCK_BYTES
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.embeddings.word2vec_text import read
from pipeline.stage import UserError
from pipeline.store import digest

GOOD = b"3 2\nthe 1 2\ncat -0.5 1e-3\nNew York 3 4.25\n"


@pytest.fixture
def given_bytes(tmp_path):
    def load(content, vocabulary=None, name="table.vec", **options):
        (tmp_path / name).write_bytes(content)
        words = Vocabulary(vocabulary) if vocabulary is not None else None
        return read(words, {"path": str(tmp_path / name), **options})

    return SimpleNamespace(read=load, folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "header"),
    [("lee_fasttext.vec", True), ("crime-and-punishment.vec", True), ("test_glove.txt", False)],
)
def test_the_same_words_and_bits_as_gensim(name, header):
    peer = KeyedVectors.load_word2vec_format(datapath(name), binary=False, no_header=not header)
    table = read(None, {"path": datapath(name), "duplicates": "first"})
    assert table.words == peer.index_to_key
    np.testing.assert_array_equal(table.vectors, peer.vectors)


@given(
    st.dictionaries(
        st.text(st.characters(min_codepoint=97, max_codepoint=0x2FF), min_size=1, max_size=6),
        st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=3, max_size=3).filter(any),
        min_size=1,
        max_size=8,
    ),
)
def test_generated_tables_come_back_as_gensim_reads_them(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("generated") / "table.vec"
    written = KeyedVectors(3)
    written.add_vectors(list(rows), np.array(list(rows.values()), np.float32))
    written.save_word2vec_format(str(path))
    peer = KeyedVectors.load_word2vec_format(str(path))
    table = read(None, {"path": str(path)})
    assert table.words == peer.index_to_key
    np.testing.assert_array_equal(table.vectors, peer.vectors)


@pytest.mark.parametrize(
    "content", [GOOD, GOOD.split(b"\n", 1)[1], GOOD.replace(b"\n", b" \r\n"), GOOD[:-1], GOOD + b"\n\n"]
)
def test_with_and_without_header_and_whatever_ends_the_lines(given_bytes, content):
    table = given_bytes.read(content, spaces_in_words=True)
    assert table.words == ["the", "cat", "New York"]
    np.testing.assert_array_equal(table.vectors, np.array([[1, 2], [-0.5, 1e-3], [3, 4.25]], np.float32))


def test_gzip_is_read_the_same(given_bytes):
    plain = given_bytes.read(GOOD, spaces_in_words=True)
    packed = given_bytes.read(gzip.compress(GOOD), name="table.vec.gz", spaces_in_words=True)
    assert plain.words == packed.words
    np.testing.assert_array_equal(plain.vectors, packed.vectors)


def test_only_the_vocabulary_in_its_order(given_bytes):
    table = given_bytes.read(GOOD, ["dog", "New York", "the"], spaces_in_words=True)
    assert table.words == ["New York", "the"]
    np.testing.assert_array_equal(table.vectors, np.array([[3, 4.25], [1, 2]], np.float32))
    assert table.facts["words_missing"] == "1"


def test_another_case_is_lent_only_to_a_word_that_is_not_there_itself(given_bytes):
    content = b"Paris 1 1\nPARIS 2 2\nNice 3 3\nnice 4 4\nUS 5 5\n"
    table = given_bytes.read(content, ["paris", "nice", "us", "US"])
    assert dict(zip(table.words, table.vectors[:, 0].tolist(), strict=True)) == {"paris": 1, "nice": 4, "US": 5}
    assert table.facts["words_found_in_other_case"] == "1"


def test_facts(given_bytes):
    table = given_bytes.read(GOOD, licence="CC-BY-SA-3.0", spaces_in_words=True)
    assert table.facts["licence"] == "CC-BY-SA-3.0"
    assert table.facts["model"] == "table.vec"
    assert json.loads(table.facts["digests"]) == {"table.vec": digest(given_bytes.folder / "table.vec")}
    assert str(given_bytes.folder) not in str(table.facts)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"2 2\na 1 2\nb 1\n", "line 3: 1 values, expected 2"),
        (b"a 1 2\nb 1\n", "line 2: 1 values, expected 2"),
        (b"2 2\na 1 2\nb 1 2 3\n", "line 3: 3 values, expected 2"),
        (b"2 2\na 1 2\nb 1 2 -.5e-3\n", "line 3: 3 values, expected 2"),
        (b"2 2\na 1 2\nb x 1 2\n", "line 3: 3 values, expected 2; or is 'b x' a word.* spaces_in_words: true"),
        (b"a 1 2\nb x y 1 2\n", "line 2: 4 values, expected 2; or is 'b x y' a word.* spaces_in_words: true"),
        (b"99999999999999999999999 99999999999999999999\na 1 2\n", "line 1: a header of numbers of more than 12"),
        (b"1 " + b"9" * 5000 + b"\na 1 2\n", "line 1: a header of numbers of more than 12"),
        (b"2 2\na 1 nan\nb 1 2\n", r"line 2 \('a'\): NaN or infinity"),
        (b"2 2\na 1 2\nb inf 2\n", r"line 3 \('b'\): NaN or infinity"),
        (b"2 2\na 1 2\nb 1e39 2\n", r"line 3 \('b'\): NaN or infinity"),
        (b"2 2\na 1 2\nb 1 two\n", r"line 3 \('b'\): 'two' is not a number"),
        (b"2 2\na 1 2\nb 1 2x\n", r"line 3 \('b'\): '2x' is not a number"),
        (b"2 2\na 1 2\nb 1 2,5\n", r"line 3 \('b'\): '2,5' is not a number"),
        (b"2 2\na 1 2\nb 1 1-2\n", r"line 3 \('b'\): '1-2' is not a number"),
        (b"2 2\na 1 2\nb 1 1_0\n", r"line 3 \('b'\): '1_0' is not a number"),
        (b"2 2\na 1 2\nb 1 \xff\n", r"line 3 \('b'\): '.' is not a number"),
        (b"2 2\na 1 2\nb 0 -0.0\n", r"line 3 \('b'\): a zero vector"),
        (b"2 2\na 1 2\nb\xe9 1 2\n", "line 3: the word is not UTF-8"),
        (b"3 2\na 1 2\nb 1 2\na 3 4\n", "line 4: the word 'a' stands already in line 2"),
        (b"3 2\na 1 2\nb 1 2\n", "header promises 3 rows, but the file has 2"),
        (b"1 2\na 1 2\nb 1 2\n", "header promises 1 rows, but the file has 2"),
        (b"", "line 1: empty"),
        (b"\na 1 2\n", "line 1: empty"),
        (b"word\n", "line 1: no values"),
        (b"3 0\n", "line 1: no values"),
        (b"0 2\n", "no row in it"),
    ],
)
def test_bad_files_are_refused_by_file_and_line(given_bytes, content, said):
    with pytest.raises(UserError, match=said) as error:
        given_bytes.read(content)
    assert str(error.value).startswith(str(given_bytes.folder / "table.vec"))
    assert "\n" not in str(error.value)


def test_a_real_file_with_a_word_in_another_encoding_is_refused():
    path = datapath("pang_lee_polarity_fasttext.vec")
    lines = Path(path).read_bytes().split(b"\n")
    first = next(number for number, line in enumerate(lines, 1) if line.startswith(b"\x97 "))
    with pytest.raises(UserError, match=f"line {first}: the word is not UTF-8"):
        read(None, {"path": path})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b"b 1", "line 3: 1 values, expected 2"),
        (b"\xff 1 2", "line 3: the word is not UTF-8"),
        (b"b x 1 2", "line 3: 3 values, expected 2"),
        (b"b nan 2", r"line 3 \('b'\): NaN or infinity"),
        (b"b 1 -inf", r"line 3 \('b'\): NaN or infinity"),
        (b"b 1 abc", r"line 3 \('b'\): 'abc' is not a number"),
        (b"b 0 0", r"line 3 \('b'\): a zero vector"),
        (b"c 1 2", "line 4: the word 'c' stands already in line 3"),
    ],
)
def test_faults_are_found_in_rows_that_nobody_wants_too(given_bytes, row, said):
    with pytest.raises(UserError, match=f"table.vec: {said}"):
        given_bytes.read(b"3 2\na 1 2\n" + row + b"\nc 1 2\n", ["a"])


@pytest.mark.parametrize("token", [b"3", b"nan", b"NaN", b"-inf", b"Infinity", b"1e5", b"-.5E-3"])
@pytest.mark.parametrize("header", [b"2 2\n", b""])
def test_a_value_too_many_is_no_part_of_a_word_even_where_words_have_parts(given_bytes, token, header):
    with pytest.raises(UserError, match=r"3 values, expected 2$"):
        given_bytes.read(header + b"a 1 2\nof " + token + b" 1 2\n", ["a"], spaces_in_words=True)


def test_spaces_in_words_is_true_or_false(given_bytes):
    with pytest.raises(UserError, match="spaces_in_words 'no' is not one of true, false"):
        given_bytes.read(GOOD, spaces_in_words="no")


@pytest.mark.parametrize(
    ("vocabulary", "level", "said"),
    [
        (["a", "b"], "INFO", "4 rows, 2 used; 0 words"),
        (["a", "b", "c", "d", "x"], "INFO", "4 rows, 4 used; 1 words"),
        (["a"], "WARNING", "4 rows, 1 used; 0 words"),
        (["a", "b", "v", "w", "x"], "WARNING", "4 rows, 2 used; 3 words"),
        (["a", "b", "c", "d"], None, ""),
        (None, None, ""),
    ],
)
def test_what_goes_unused_is_logged(given_bytes, caplog, vocabulary, level, said):
    caplog.set_level("INFO", "pipeline")
    given_bytes.read(b"a 1 2\nb 1 2\nc 1 2\nd 1 2\n", vocabulary)
    expected = f"{given_bytes.folder}/table.vec: {said} of the vocabulary have no vector"
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == ([(level, expected)] if level else [])


def test_the_first_of_duplicate_words_wins_where_it_is_asked_for(given_bytes):
    table = given_bytes.read(b"a 1 2\nb 1 2\na 3 4\n", duplicates="first")
    assert table.words == ["a", "b"]
    np.testing.assert_array_equal(table.vectors[0], [1, 2])
    with pytest.raises(UserError, match="duplicates 'last' is not one of error, first"):
        given_bytes.read(GOOD, duplicates="last")


def test_a_duplicate_in_another_case_is_one_too(given_bytes):
    with pytest.raises(UserError, match="line 2: the word 'Paris' stands already in line 1"):
        given_bytes.read(b"Paris 1 2\nParis 3 4\n", ["paris"])


def test_a_truncated_and_a_false_gzip_are_refused(given_bytes):
    packed = gzip.compress(np.random.default_rng(0).bytes(10_000).hex().encode())
    for content, said in [(packed[:-2000], "truncated gzip"), (GOOD, "cannot be read"), (b"", "line 1: empty")]:
        with pytest.raises(UserError, match=f"table.vec.gz: .*{said}|table.vec.gz: {said}"):
            given_bytes.read(content, name="table.vec.gz")


def test_damage_inside_a_gzip_is_refused(given_bytes):
    whole = gzip.compress(GOOD)
    for place, said in [(10, "invalid"), (-8, "CRC")]:  # the first block's header; the checksum
        packed = bytearray(whole)
        packed[place] ^= 0xFF
        with pytest.raises(UserError, match=rf"table\.vec\.gz: cannot be read \(.*{said}"):
            given_bytes.read(bytes(packed), name="table.vec.gz", spaces_in_words=True)


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path.read_bytes()


def test_a_zip_of_one_file_is_read_the_same(given_bytes, tmp_path):
    plain = given_bytes.read(GOOD, spaces_in_words=True)
    packed = given_bytes.read(zipped(tmp_path / "a", table=GOOD), name="table.zip", spaces_in_words=True)
    assert plain.words == packed.words
    np.testing.assert_array_equal(plain.vectors, packed.vectors)
    assert list(json.loads(packed.facts["digests"])) == ["table.zip"]


def test_other_zips_are_refused(given_bytes, tmp_path):
    whole = zipped(tmp_path / "a", table=np.random.default_rng(0).bytes(10_000).hex().encode())
    damaged = bytearray(whole)
    damaged[5000] ^= 0xFF
    for content, said in [
        (zipped(tmp_path / "a"), "must hold exactly one file, not 0"),
        (zipped(tmp_path / "a", one=GOOD, two=GOOD), "must hold exactly one file, not 2: one, two"),
        (whole[:-500], "not a whole zip file"),
        (bytes(damaged), "not a whole zip file|cannot be read"),
        (GOOD, "not a whole zip file"),
    ]:
        with pytest.raises(UserError, match=said) as error:
            given_bytes.read(content, name="table.zip")
        assert str(error.value).startswith(f"{given_bytes.folder}/table.zip: ")
        assert "\n" not in str(error.value)


def test_many_blocks_are_as_gensim_reads_them(tmp_path):
    random = np.random.default_rng(3)
    written = KeyedVectors(50)
    words = [f"{'Wörd' if i % 7 else 'w'}{i}" for i in range(9000)]
    written.add_vectors(words, random.normal(size=(9000, 50)).astype(np.float32))
    path = str(tmp_path / "large.vec")
    written.save_word2vec_format(path)
    assert Path(path).stat().st_size > 3 * BLOCK_BYTES
    peer = KeyedVectors.load_word2vec_format(path)
    table = read(None, {"path": path})
    assert table.words == peer.index_to_key
    np.testing.assert_array_equal(table.vectors, peer.vectors)
    some = read(Vocabulary(words[::-5]), {"path": path})
    assert some.words == words[::-5]
    np.testing.assert_array_equal(some.vectors, peer.vectors[::-5])
    with open(path, "ab") as file:
        file.write(b"w0 " + b"1 " * 50 + b"\n")
    with pytest.raises(UserError, match="line 9002: the word 'w0' stands already in line 2"):
        read(None, {"path": path})


def test_the_faults_of_a_file_are_named_in_its_order(given_bytes):
    with pytest.raises(UserError, match="line 3: the word 'a' stands already in line 2"):
        given_bytes.read(b"9 2\na 1 2\na 1 2\nb nan 2\n")
    with pytest.raises(UserError, match=r"line 3 \('b'\): NaN"):
        given_bytes.read(b"9 2\na 1 2\nb nan 2\na 1 2\n")


def test_memory_is_that_of_the_wanted_rows_and_some_blocks(tmp_path):
    path = tmp_path / "large.vec"
    line = b" " + b" ".join(b"%.4f" % x for x in np.random.default_rng(0).normal(size=300)) + b"\n"
    with open(path, "wb") as file:
        file.writelines(b"w%d" % number + line for number in range(16_000))
    wanted = Vocabulary(["w15999", "w3"])
    read(wanted, {"path": str(path)})  # what is imported on first use is not the file's
    tracemalloc.start()
    try:
        assert read(wanted, {"path": str(path)}).words == wanted.words
        assert tracemalloc.get_traced_memory()[1] < 16_000 * 300 * 4 / 1.5
    finally:
        tracemalloc.stop()


def test_missing_and_unreadable_files_are_refused(tmp_path):
    for path, said in [(tmp_path / "none.vec", "No such file"), (tmp_path, "Is a directory")]:
        with pytest.raises(UserError, match=said) as error:
            read(None, {"path": str(path)})
        assert str(path) in str(error.value)


def test_a_file_without_any_wanted_word_is_refused(given_bytes):
    with pytest.raises(UserError, match="none of the 2 wanted words is in it"):
        given_bytes.read(GOOD, ["dog", "fish"], spaces_in_words=True)


def test_path_is_required():
    with pytest.raises(UserError, match="key 'path' is missing"):
        read(None, {})


@pytest.mark.parametrize("path", [None, 3, ["a.vec"]])
def test_path_is_a_string(path):
    with pytest.raises(UserError, match="word2vec_text: option path must be a string, not"):
        read(None, {"path": path})


@pytest.mark.parametrize("header", ["", "2 2\n"])
def test_a_byte_order_mark_is_not_part_of_the_first_word(tmp_path, header):
    (tmp_path / "marked.vec").write_bytes(f"\ufeff{header}a 1 2\nb 3 4\n".encode())
    assert read(None, {"path": str(tmp_path / "marked.vec")}).words == ["a", "b"]


def test_what_a_mac_packs_beside_the_file_is_passed_over(tmp_path):
    with zipfile.ZipFile(tmp_path / "v.vec.zip", "w") as archive:
        archive.writestr("v.vec", "a 1 2\n")
        archive.writestr("__MACOSX/._v.vec", "\x00")
    assert read(None, {"path": str(tmp_path / "v.vec.zip")}).words == ["a"]
