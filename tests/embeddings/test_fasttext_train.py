import json
import os
import subprocess
import sys

import numpy as np
import pytest
from gensim.models import FastText
from gensim.models.fasttext import load_facebook_vectors

from pipeline.corpus.documents import write_documents
from pipeline.corpus.source import Document
from pipeline.corpus.tokenizer import train as train_tokenizer
from pipeline.embeddings import fasttext_binary, fasttext_train, word2vec_text
from pipeline.embeddings.fasttext_train import Sentences, read
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError
from pipeline.store import digest

TEXTS = ["The cats SAT on the mat.\nA dog's cat sat on 3 mats", "the mat-maker sat\n\non the cat", "Dogs and cats"] * 4
SMALL = {"dims": 8, "epochs": 2, "min_count": 2, "buckets": 100}
ASKED = ["sat", "catlike", "the", "zebra"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_documents((Document(str(i), text) for i, text in enumerate(TEXTS)), folder / "documents", 200)
    tokenizer = train_tokenizer([TEXTS], 280)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    return {"documents": str(folder / "documents"), "tokenizer": str(folder / "tokenizer.json")}


def test_sentences_are_the_words_of_each_line_by_the_corpus_own_rule_in_every_pass(corpus, monkeypatch):
    sentences = Sentences(**corpus, passes=2)
    expected = [["the", "cats", "sat", "on", "the", "mat"], ["a", "dog", "cat", "sat", "on", "mats"]]
    expected += [["the", "mat", "maker", "sat"], ["on", "the", "cat"], ["dogs", "and", "cats"]]
    assert list(sentences) == list(sentences) == expected * 4
    monkeypatch.setattr(fasttext_train, "SENTENCE_WORDS", 4)
    assert next(iter(sentences)) == ["the", "cats", "sat", "on"]
    assert sum(map(len, sentences)) == sum(map(len, expected)) * 4


def test_vectors_are_those_of_gensims_own_training_on_the_same_sentences(corpus):
    how = {**SMALL, "window": 3, "min_n": 2, "max_n": 5, "negative": 4, "sg": False, "seed": 7}
    table = read(Vocabulary(ASKED), {**corpus, **how})
    peer = FastText(
        *(list(Sentences(**corpus, passes=1)), None),
        **{"vector_size": 8, "epochs": 2, "min_count": 2, "bucket": 100, "window": 3, "min_n": 2, "max_n": 5},
        **{"negative": 4, "sg": 0, "seed": 7, "workers": 1},
    )
    assert table.words == ASKED
    np.testing.assert_array_equal(table.vectors, np.stack([peer.wv.get_vector(word) for word in ASKED]))
    assert (table.facts["words_by_subwords"], table.facts["words_missing"]) == ("2", "0")
    assert read(None, {**corpus, **how}).words == peer.wv.index_to_key


def test_the_saved_model_and_its_text_file_are_read_back_equal_by_us_and_by_gensim(corpus, tmp_path):
    path = tmp_path / "new" / "model.bin"
    table = read(Vocabulary(ASKED), {**corpus, **SMALL, "model": str(path)})
    again = fasttext_binary.read(Vocabulary(ASKED), {"path": str(path)})
    assert again.words == table.words
    np.testing.assert_array_equal(again.vectors, table.vectors)
    peer = load_facebook_vectors(str(path))
    np.testing.assert_array_equal(np.stack([peer.get_vector(word) for word in ASKED]), table.vectors)
    peer.save_word2vec_format(str(tmp_path / "model.vec"))
    text = word2vec_text.read(None, {"path": str(tmp_path / "model.vec")})
    assert text.words == peer.index_to_key
    np.testing.assert_array_equal(text.vectors, peer.vectors)
    assert os.listdir(path.parent) == ["model.bin"]


def test_two_processes_give_the_same_bits_and_another_seed_gives_others(corpus, tmp_path):
    code = (
        "import json, sys; from pipeline.embeddings.fasttext_train import read;"
        "print(read(None, json.loads(sys.argv[1])).vectors.tobytes().hex())"
    )
    found = []
    for seed, hash_seed in ((3, "1"), (3, "2"), (4, "1")):
        argv = [sys.executable, "-c", code, json.dumps({**corpus, **SMALL, "seed": seed})]
        run = subprocess.run(
            argv, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": hash_seed}
        )
        found.append(run.stdout)
    assert len(found[0]) > 100
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_facts(corpus):
    facts = read(Vocabulary(["sat", "zebra"]), {**corpus, **SMALL, "max_n": 0, "licence": "CC0-1.0"}).facts
    assert (facts["source"], facts["licence"]) == ("fasttext_train", "CC0-1.0")
    assert json.loads(facts["training"]) == {
        **{"dims": 8, "epochs": 2, "window": 5, "min_count": 2, "min_n": 3, "max_n": 0, "negative": 5},
        **{"buckets": 100, "sg": True, "seed": 0, "workers": 1},
    }
    assert json.loads(facts["digests"]) == {name: digest(path) for name, path in corpus.items()}
    assert (facts["words_missing"], facts["words_by_subwords"]) == ("1", "0")  # max_n 0: words have no parts


def test_a_shard_that_breaks_while_gensim_trains_is_an_error_and_no_standstill(corpus, monkeypatch):
    class Breaking(Sentences):
        def __init__(self, *given):
            super().__init__(*given)
            whole = self._read_texts

            def texts(shard):
                if self._pass > 1:
                    raise UserError(f"{shard}: damaged")
                return whole(shard)

            self._read_texts = texts

    monkeypatch.setattr(fasttext_train, "Sentences", Breaking)
    with pytest.raises(UserError, match=r"shard-00000\.parquet: damaged"):
        read(None, {**corpus, **SMALL})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dims": 0}, "dims 0 is not a whole number from 1 on"),
        ({"epochs": 1.5}, "epochs 1.5 is not a whole number from 1 on"),
        ({"workers": True}, "workers True is not a whole number from 1 on"),
        ({"seed": -1}, "seed -1 is not a whole number from 0 on"),
        ({"negative": 0}, "negative 0 is not"),
        ({"buckets": 2**40}, "buckets 1099511627776 is not"),
        ({"max_n": 2}, "max_n 2 is less than min_n 3"),
        ({"sg": 1}, "sg 1 is not one of true, false"),
        ({"documents": None}, "option documents must be a string, not None"),
        ({"model": 3}, "option model must be a string, not 3"),
        ({"min_count": 99}, "no word of the corpus occurs 99 times"),
        ({"documents": "nowhere"}, "nowhere: no shard"),
        ({"tokenizer": "nowhere.json"}, "nowhere.json: no such file"),
        ({"colour": 1}, "unknown key 'colour'"),
    ],
)
def test_wrong_options_and_corpora_are_refused(corpus, options, said):
    with pytest.raises(UserError, match=said) as error:
        read(None, {**corpus, **SMALL, **options})
    assert "\n" not in str(error.value)


def test_a_corpus_without_a_word_is_refused(corpus, tmp_path):
    write_documents([Document("1", "1 2 3")], tmp_path / "documents", 200)
    with pytest.raises(UserError, match="no word of the corpus occurs 2 times"):
        read(None, {**corpus, **SMALL, "documents": str(tmp_path / "documents")})
