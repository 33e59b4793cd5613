import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.corpus.documents import write_documents
from pipeline.corpus.source import Document
from pipeline.corpus.tokenizer import train as train_tokenizer
from pipeline.embeddings import skipgram_corpus
from pipeline.embeddings.skipgram import How, read, settings
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError
from pipeline.store import read_parquet, write_parquet
from pipeline.training import run

SMALL = {"dims": 8, "epochs": 12, "min_count": 2, "batch": 256, "sample": 1.0, "patience": 99}
GROUPS = (("cat", "dog", "cow", "hen"), ("iron", "gold", "zinc", "lead"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Sentences that name animals or metals, never both."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(GROUPS[line % 2], 8)) for line in range(1200)]
    texts = ["\n".join(lines[start : start + 100]) for start in range(0, 1200, 100)]
    write_documents((Document(str(i), text) for i, text in enumerate(texts)), folder / "documents", 20_000)
    (folder / "tokenizer.json").write_text(train_tokenizer([texts], 280).to_str())
    sets = folder / "benchmarks/similarity/pairs.parquet"
    pairs = {"word1": ["cat", "cat", "iron", "dog"], "word2": ["dog", "iron", "gold", "zinc"], "score": [9.0, 1, 8, 0]}
    write_parquet(sets, pa.table(pairs))
    options = {name: str(folder / name) for name in ("documents", "benchmarks")}
    return {**options, "tokenizer": str(folder / "tokenizer.json")}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(skipgram_corpus.__file__).parents[2]))
    return tmp_path


def test_words_that_keep_company_come_to_lie_together(corpus, here, monkeypatch):
    # In this process: another one's torch takes seconds.
    monkeypatch.setattr("pipeline.training.launch.start", lambda module, arguments, processes: run.main(arguments))
    table = read(Vocabulary(["zinc", "cat", "unicorn", "dog", "gold"]), {**corpus, **SMALL, "log": "log.parquet"})
    assert table.words == ["zinc", "cat", "dog", "gold"]
    unit = table.vectors / np.linalg.norm(table.vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    assert min(cosines[0, 3], cosines[1, 2]) > max(cosines[0, 1], cosines[0, 2], cosines[3, 1], cosines[3, 2]) + 0.3
    logged = read_parquet("log.parquet")
    assert logged["held_out_similarity_pairs"].to_pylist()[-1] > 0.7
    losses = logged["held_out_loss"].drop_null().to_pylist()
    assert min(losses) == json.loads(table.facts["result"])["best"] < 0.8 * losses[0]
    assert (table.facts["source"], table.facts["words_missing"]) == ("skipgram", "1")
    assert json.loads(table.facts["training"])["dims"] == 8
    assert not list(Path("data/embeddings").glob(".skipgram-*"))  # neither folder nor lock


@pytest.mark.slow
def test_killed_and_run_again_is_as_never_killed(corpus, here):
    options = {**corpus, **SMALL, "epochs": 60}
    code = "import json, sys; from pipeline.embeddings.skipgram import read; read(None, json.loads(sys.argv[1]))"
    argv = [sys.executable, "-c", code, json.dumps(options)]
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL, env={**os.environ, "PIPELINE_LOG_LEVEL": "ERROR"})
    until = time.monotonic() + 60
    while len(list(Path("data/embeddings").glob(".skipgram-*/checkpoints/log/part-*"))) < 5:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(Path("data/embeddings").glob(".skipgram-*/checkpoints/last.safetensors"))
    resumed = read(None, options)
    whole = read(None, options)
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)


def test_the_corpus_in_numbers(tmp_path):
    sentences = [["b", "a", "rare"], ["a", "b", "a"], ["a"]] * 20
    counted = skipgram_corpus.counts(sentences, 21, "x")
    assert list(counted.items()) == [("a", 76), ("b", 38)]  # of 57 sentences: three are held out
    skipgram_corpus.write(sentences, counted, tmp_path)
    tokens = read_parquet(tmp_path / "train.parquet")["tokens"].to_pylist()
    assert tokens[:2] == [[1, 0, 2], [0, 1, 0, 2]]
    held = read_parquet(tmp_path / "validation.parquet")["tokens"].to_pylist()
    assert len(tokens) + len(held) == 40
    assert held == [[0, 1, 0, 2], [1, 0, 2]]
    assert read_parquet(tmp_path / "counts.parquet").to_pydict() == {"word": ["a", "b"], "count": [76, 38]}


def test_settings_for_a_corpus_smaller_than_a_batch():
    assert settings(How(batch=6400, epochs=3), 40)["batch"] == 40
    assert settings(How(batch=6400, epochs=3), 1000) | {"steps": 30, "batch": 100} == settings(
        How(batch=6400, epochs=3), 1000
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dims": 0}, "dims 0 is not a whole number from 1 on"),
        ({"seed": -1}, "seed -1 is not a whole number from 0 on"),
        ({"processes": 0}, "processes 0 is not a whole number from 1 on"),
        ({"sample": 0}, "sample 0 is not a number above 0"),
        ({"learning_rate": "fast"}, "learning_rate 'fast' is not a number above 0"),
        ({"batch": 100}, "batch 100 is not a multiple of 64"),
        ({"documents": None}, "option documents must be a string, not None"),
        ({"min_count": 9999}, "no word of the corpus occurs 9999 times"),
        ({"documents": "nowhere"}, "nowhere: no shard"),
        ({"colour": 1}, "unknown key 'colour'"),
    ],
)
def test_wrong_options_and_corpora_are_refused(corpus, here, options, said):
    with pytest.raises(UserError, match=said) as error:
        read(None, {**corpus, **SMALL, **options})
    assert "\n" not in str(error.value)
