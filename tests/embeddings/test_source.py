import subprocess
import sys

import pytest

from pipeline.embeddings import source
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("spacy_md", "spacy_md"),
        ("minilm", "sentence_transformers"),
        ("fasttext", "word2vec_text"),
        ("ada", "word2vec_text"),
        ("fasttext", "fasttext_binary"),
        ("ada", "npy"),
        ("mine-2.0_b", "spacy_md"),
    ],
)
def test_true_and_free_names_pass(name, origin):
    source.check_name(name, origin, {})


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("spacy_md", "word2vec_text"),
        ("minilm", "spacy_md"),
        ("fasttext", "spacy_md"),
        ("fasttext", "sentence_transformers"),
        ("ada", "sentence_transformers"),
    ],
)
def test_a_reserved_name_is_refused_for_another_source(name, origin):
    with pytest.raises(UserError, match=f"{name!r} is reserved"):
        source.check_name(name, origin, {})


def test_ada_is_one_model_only():
    source.check_name("ada", "openai", {"model": "text-embedding-ada-002"})
    with pytest.raises(UserError, match="'ada' is reserved for the model 'text-embedding-ada-002', not 'other'"):
        source.check_name("ada", "openai", {"model": "other"})


def test_minilm_is_the_packaged_model_only():
    with pytest.raises(UserError, match="'minilm' is reserved for the packaged model"):
        source.check_name("minilm", "sentence_transformers", {"model": "other"})


@pytest.mark.parametrize("name", ["", "a+b", "a/b", "a b", ".hidden", "-x", "ä", "a\n"])
def test_names_that_cannot_be_file_names_or_parts_are_refused(name):
    with pytest.raises(UserError, match="letters, digits"):
        source.check_name(name, "spacy_md", {})


def test_an_unknown_source_is_named_with_the_known_ones():
    with pytest.raises(UserError, match=r"'glove'; known are fasttext_binary, .*, word2vec_text"):
        source.read("glove", None, {})


@pytest.mark.parametrize("name", sorted(source.SOURCES))
def test_an_unknown_option_is_named(name):
    with pytest.raises(UserError, match=f"{name}: unknown key 'colour'"):
        source.read(name, Vocabulary(["a"]), {"colour": 1})


@pytest.mark.parametrize("name", sorted(source.SOURCES))
def test_a_bad_device_is_refused_whether_or_not_the_source_computes(name):
    with pytest.raises(UserError, match="device: 'tpu' is not one of auto, cpu, cuda"):
        source.read(name, Vocabulary(["a"]), {}, "tpu")


@pytest.mark.parametrize("device", source.DEVICES)
def test_the_devices_are_accepted_by_a_source_that_needs_none(tmp_path, device):
    (tmp_path / "mine.vec").write_text("a 1 2\n")
    assert source.read("word2vec_text", None, {"path": str(tmp_path / "mine.vec")}, device).words == ["a"]


@pytest.mark.parametrize(("name", "dims"), [("fasttext", 300), ("ada", 1536), ("mine", 2)])
def test_dimensions_of_the_real_ones_pass(name, dims):
    source.check_dimensions(name, dims)


@pytest.mark.parametrize(("name", "dims", "real"), [("fasttext", 299, 300), ("ada", 300, 1536)])
def test_other_dimensions_than_the_real_ones_are_refused(name, dims, real):
    with pytest.raises(UserError, match=f"{name!r}: the real one has {real} dimensions, not {dims}"):
        source.check_dimensions(name, dims)


def test_the_interface_imports_no_torch():
    code = "import sys, pipeline.embeddings.table, pipeline.embeddings.sentence; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("origin", "options", "all_words", "within", "message"),
    [
        ("npy", {}, False, False, "its rows have no words; put `vocabulary: all`"),
        ("parquet", {"word": None}, False, False, "its rows have no words"),
        ("openai", {}, True, False, "openai has a vector for every string"),
        ("sentence_transformers", {}, True, False, "sentence_transformers has a vector for every string"),
        ("npy", {}, True, True, "within: is for the words of the corpus"),
    ],
)
def test_words_that_cannot_be_asked_for(origin, options, all_words, within, message):
    with pytest.raises(UserError, match=f"config: embeddings.mine: (vocabulary: )?{message}"):
        source.check_vocabulary("mine", origin, options, all_words, within)
    source.check_vocabulary("mine", "npy", {"words": "w.txt"}, False, within)
    source.check_vocabulary("mine", "npy", {}, True, False)
