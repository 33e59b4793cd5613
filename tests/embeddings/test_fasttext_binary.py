import json
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from gensim.models import FastText
from gensim.models.fasttext import load_facebook_vectors, save_facebook_model
from gensim.test.utils import datapath

from pipeline.embeddings import word2vec_text
from pipeline.embeddings.fasttext_binary import read
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError
from pipeline.store import digest

REAL = datapath("crime-and-punishment.bin")  # written by Facebook's own program


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small model, as gensim saves it."""
    path = tmp_path_factory.mktemp("model") / "small.bin"
    sentences = [["the", "cat", "sat"], ["the", "dögs", "sat", "and", "ran"]] * 5
    model = FastText(sentences, vector_size=6, min_count=1, bucket=50, epochs=1, min_n=2, max_n=4, seed=1, workers=1)
    save_facebook_model(model, str(path))
    return SimpleNamespace(path=str(path), content=path.read_bytes(), model=model)


@pytest.fixture(scope="module", params=["real", "small"])
def both(request, small):
    path = REAL if request.param == "real" else small.path
    return SimpleNamespace(path=path, peer=load_facebook_vectors(path))


def test_all_words_are_as_gensim_reads_them(both):
    table = read(None, {"path": both.path})
    assert table.words == both.peer.index_to_key
    np.testing.assert_array_equal(table.vectors, both.peer.vectors)
    assert table.vectors.dtype == np.float32


def test_other_words_are_made_of_their_parts_as_gensim_makes_them(both):
    asked = ["Raskolnikovish", both.peer.index_to_key[1], "ö", "日本語", both.peer.index_to_key[0], "catlike"]
    table = read(Vocabulary(asked), {"path": both.path})
    assert table.words == asked
    np.testing.assert_array_equal(table.vectors, np.stack([both.peer.get_vector(word) for word in asked]))
    assert table.facts["words_by_subwords"] == "4"
    assert table.facts["words_missing"] == "0"


def test_other_words_are_dropped_where_that_is_asked_for(both):
    held = both.peer.index_to_key[1]
    table = read(Vocabulary(["catlike", held]), {"path": both.path, "oov": "drop"})
    assert table.words == [held]
    assert table.facts["words_missing"] == "1"
    with pytest.raises(UserError, match=r"\.bin: none of the 1 wanted words has a vector"):
        read(Vocabulary(["catlike"]), {"path": both.path, "oov": "drop"})


def test_bin_and_vec_of_a_model_give_the_same_table(tmp_path):
    """Also for words that the model spells in another case: the first such word that is not asked for itself."""
    lines = [["Paris", "PARIS", "the", "The", "Élan", "dog"]] * 3 + [["Paris", "NATO", "Dog", "dog"]] * 2
    lines += [["PARIS"] * 9]  # more frequent than Paris
    model = FastText(lines, vector_size=8, min_count=1, bucket=90, epochs=2, min_n=2, max_n=4, seed=2, workers=1)
    save_facebook_model(model, str(tmp_path / "m.bin"))
    model.wv.save_word2vec_format(str(tmp_path / "m.vec"))
    asked = ["paris", "nato", "the", "dog", "élan", "PARIS", "Dog", "absent"]
    binary = read(Vocabulary(asked), {"path": str(tmp_path / "m.bin"), "oov": "drop"})
    text = word2vec_text.read(Vocabulary(asked), {"path": str(tmp_path / "m.vec")})
    assert binary.words == text.words == asked[:-1]
    np.testing.assert_array_equal(binary.vectors, text.vectors)
    np.testing.assert_array_equal(binary.vectors[:2], model.wv[["Paris", "NATO"]])
    for table in (binary, text):
        assert (table.facts["words_found_in_other_case"], table.facts["words_missing"]) == ("3", "1")
    by_parts = read(Vocabulary(asked), {"path": str(tmp_path / "m.bin")})
    assert by_parts.words == asked
    np.testing.assert_array_equal(by_parts.vectors[:-1], text.vectors)
    assert (by_parts.facts["words_by_subwords"], by_parts.facts["words_found_in_other_case"]) == ("1", "3")


def test_facts(small):
    table = read(None, {"path": small.path, "licence": "CC-BY-SA-3.0"})
    assert (table.facts["source"], table.facts["model"]) == ("fasttext_binary", "small.bin")
    assert table.facts["licence"] == "CC-BY-SA-3.0"
    assert json.loads(table.facts["digests"]) == {"small.bin": digest(small.path)}


def places(content):
    """Where the dictionary, the words, the first matrix's values, and the second matrix begin."""
    words = 4 + 4 + 12 * 4 + 8 + struct.calcsize("<3i2q")
    count, place = struct.unpack_from("<i", content, words - 28)[0], words
    for _ in range(count):
        place = content.index(b"\0", place) + 1 + 9
    values = place + 1 + 16
    rows, dims = struct.unpack_from("<2q", content, place + 1)
    return SimpleNamespace(
        dictionary=words - 28, words=words, quantised=place, values=values, count=count, output=values + 4 * rows * dims
    )


def written(small, tmp_path, place, layout, *values):
    """The small model with other values at a place."""
    content = bytearray(small.content)
    struct.pack_into(layout, content, place, *values)
    (tmp_path / "changed.bin").write_bytes(content)
    return str(tmp_path / "changed.bin")


def test_a_word_without_a_direction_is_dropped_and_counted(small, tmp_path):
    place = places(small.content)
    zeros = place.output - place.values - 4 * 6 * place.count
    path = written(small, tmp_path, place.values + 4 * 6 * place.count, f"{zeros}s", bytes(zeros))
    table = read(Vocabulary(["catlike", "the"]), {"path": path})
    assert table.words == ["the"]
    assert table.facts["words_dropped_zero"] == "1"
    assert table.facts["words_by_subwords"] == "0"


def test_a_damaged_value_is_refused_by_word(small, tmp_path):
    path = written(small, tmp_path, places(small.content).values + 4 * 7, "<f", np.nan)
    word = small.model.wv.index_to_key[1]
    with pytest.raises(UserError, match=f"changed.bin: the vector of {word!r} holds NaN or infinity"):
        read(None, {"path": path})


def test_a_negative_argument_is_no_traceback(small, tmp_path):
    arguments = 8  # behind magic and version; min_n is the tenth of them
    path = written(small, tmp_path, arguments + 9 * 4, "<i", -3)
    with pytest.raises(UserError, match=r"changed\.bin"):
        read(Vocabulary(["catlike"]), {"path": path})


def test_a_word_that_is_not_utf8_is_left_out_and_counted(small, tmp_path):
    table = read(None, {"path": written(small, tmp_path, places(small.content).words, "B", 0xFF)})
    assert table.words == small.model.wv.index_to_key[1:]
    assert table.facts["words_not_utf8"] == "1"


def test_a_model_cut_off_anywhere_is_refused(small, tmp_path):
    place = places(small.content)
    path = tmp_path / "cut.bin"
    ends = {4, 7, 8, 40, place.dictionary, place.words, place.words + 2, place.quantised - 3, place.quantised}
    ends |= {place.values - 1, place.values, place.output - 1, place.output, place.output + 9, len(small.content) - 1}
    for end in sorted(ends):
        path.write_bytes(small.content[:end])
        with pytest.raises(UserError, match=r"cut\.bin: a truncated or damaged fastText model \(\.bin\)$"):
            read(None, {"path": str(path)})
    path.write_bytes(small.content + b"\0")
    with pytest.raises(UserError, match="truncated or damaged"):
        read(None, {"path": str(path)})


@pytest.mark.parametrize(
    ("where", "offset", "layout", "value", "said"),
    [
        ("dictionary", -60, "<i", 10, "format version 10; known are 11, 12"),
        ("dictionary", -56, "<i", 7, "truncated or damaged"),  # dimensions that the matrix has not
        ("dictionary", -24, "<i", 49, "truncated or damaged"),  # buckets that the matrix has not
        ("dictionary", 8, "<i", 3, "a fastText classifier, with 3 labels"),
        ("dictionary", 4, "<i", -1, "truncated or damaged"),
        ("dictionary", 20, "<q", 3, "a quantised fastText model"),
        ("quantised", 0, "?", True, "a quantised fastText model"),
        ("quantised", 1, "<q", -5, "truncated or damaged"),
        ("quantised", 1, "<q", 2**60, "truncated or damaged"),
    ],
)
def test_other_models_and_contradictions_are_refused(small, tmp_path, where, offset, layout, value, said):
    path = written(small, tmp_path, getattr(places(small.content), where) + offset, layout, value)
    with pytest.raises(UserError, match=f"changed.bin: .*{said}"):
        read(None, {"path": path})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty; a fastText model"),
        (b"2 2\na 1 2\nb 3 4\n", "not a fastText model .*; for a text file .* give source word2vec_text"),
        (b"\x80\x05\x95" * 99, r"not a fastText model \(\.bin\)$"),
        (b"\xba", r"not a fastText model \(\.bin\)$"),
    ],
)
def test_other_files_are_refused(tmp_path, content, said):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(UserError, match=f"x.bin: {said}") as error:
        read(None, {"path": str(tmp_path / "x.bin")})
    assert "\n" not in str(error.value)


def test_missing_files_and_wrong_options_are_refused(tmp_path):
    for path, said in [(tmp_path / "none.bin", "No such file"), (tmp_path, "Is a directory")]:
        with pytest.raises(UserError, match=rf"cannot be read \({said}"):
            read(None, {"path": str(path)})
    with pytest.raises(UserError, match="oov 'zero' is not one of subwords, drop"):
        read(None, {"path": REAL, "oov": "zero"})
    with pytest.raises(UserError, match="option path must be a string, not 3"):
        read(None, {"path": 3})
