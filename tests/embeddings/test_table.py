import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline import stage
from pipeline.embeddings.table import embedding_table, main, plan, wanted
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, digest, read_embedding, write_embedding, write_parquet


@pytest.fixture
def vocabulary(tmp_path):
    words = {"word": ["tiger", "cat", "dog", "qqxzj"], "count": [0, 5, 4, 1], "always": [True, False, False, False]}
    write_parquet(tmp_path / "vocabulary.parquet", pa.table(words))
    return str(tmp_path / "vocabulary.parquet")


def test_a_table_carries_its_name_and_the_facts_of_its_source():
    table = embedding_table("spacy_md", "spacy_md", {}, Vocabulary(["tiger"]))
    assert table.facts["name"] == "spacy_md"
    assert table.facts["source"] == "spacy_md"


def test_a_false_name_is_refused_before_anything_is_read():
    with pytest.raises(UserError, match="'fasttext' is reserved"):
        embedding_table("fasttext", "spacy_md", {}, None)


def test_a_file_of_other_dimensions_is_not_called_fasttext(tmp_path):
    (tmp_path / "mine.vec").write_text("b 1 2\n")
    with pytest.raises(UserError, match="'fasttext': the real one has 300 dimensions, not 2"):
        embedding_table("fasttext", "word2vec_text", {"path": str(tmp_path / "mine.vec")}, None)


def test_the_stage_writes_the_table(tmp_path, vocabulary):
    output = tmp_path / "spacy_md.parquet"
    argv = ["--name", "spacy_md", "--source", "spacy_md", "--vocabulary", vocabulary, "--output", str(output)]
    assert stage.run(main, argv) == 0
    table = read_embedding(output)
    assert table.words == ["tiger", "cat", "dog"]
    assert table.vectors.shape == (3, 300)
    assert table.facts["vocabulary"] == digest(vocabulary)


def test_the_stage_reads_options_and_takes_all_words_without_a_vocabulary(tmp_path):
    (tmp_path / "mine.vec").write_text("b 1 2\na 3 4\n")
    output, options = tmp_path / "mine.parquet", json.dumps({"path": str(tmp_path / "mine.vec")})
    argv = ["--name", "mine", "--source", "word2vec_text", "--options", options, "--output", str(output)]
    assert stage.run(main, argv) == 0
    assert read_embedding(output).words == ["b", "a"]


def test_bad_input_ends_in_one_line_and_leaves_nothing(tmp_path, capsys):
    (tmp_path / "mine.vec").write_text("b 1 2\na 3\n")
    output, options = tmp_path / "out" / "mine.parquet", json.dumps({"path": str(tmp_path / "mine.vec")})
    argv = ["--name", "mine", "--source", "word2vec_text", "--options", options, "--output", str(output)]
    assert stage.run(main, argv) == 1
    last = capsys.readouterr().err.rstrip("\n").split("\n")[-1]
    assert last == f"error: {tmp_path}/mine.vec: line 2: 1 values, expected 2"
    assert not output.parent.exists()


def test_within_keeps_the_words_that_the_other_tables_have(tmp_path, vocabulary):
    paths = []
    for number, words in enumerate((["dog", "cat", "else"], ["tiger", "cat", "dog"])):
        paths.append(str(tmp_path / f"{number}.parquet"))
        write_embedding(paths[-1], EmbeddingTable(words, np.eye(3, dtype=np.float32)))
    assert wanted(vocabulary, paths) == Vocabulary(["cat", "dog"], 0)
    assert wanted(vocabulary, paths[1:]) == Vocabulary(["tiger", "cat", "dog"], 1)
    assert wanted(vocabulary, []) == Vocabulary(["tiger", "cat", "dog", "qqxzj"], 1)
    assert wanted(None, []) is None


def test_within_needs_a_vocabulary_and_a_common_word(tmp_path, vocabulary):
    path = str(tmp_path / "other.parquet")
    write_embedding(path, EmbeddingTable(["else"], np.ones((1, 2), np.float32)))
    with pytest.raises(UserError, match="needs --vocabulary"):
        wanted(None, [path])
    with pytest.raises(UserError, match=f"{path}: has no word of {vocabulary}"):
        wanted(vocabulary, [path])


def test_a_dry_run_counts_the_words_and_writes_nothing(tmp_path, vocabulary, capsys):
    argv = ["--name", "spacy_md", "--source", "spacy_md", "--dry-run"]
    output = ["--output", str(tmp_path / "spacy_md.parquet")]
    assert stage.run(main, [*argv, "--vocabulary", vocabulary, *output]) == 0
    assert capsys.readouterr().out == "spacy_md: 4 words are asked of source spacy_md\n"
    assert stage.run(main, argv) == 0
    assert capsys.readouterr().out == "spacy_md: all words are asked of source spacy_md\n"
    assert list(tmp_path.iterdir()) == [Path(vocabulary)]


def test_a_dry_run_refuses_names_and_sources_as_a_run_does():
    with pytest.raises(UserError, match="'fasttext' is reserved"):
        plan("fasttext", "spacy_md", {}, None)
    with pytest.raises(UserError, match="unknown embedding source 'glove'; known are"):
        plan("mine", "glove", {}, None)


def test_an_output_is_required_but_for_a_dry_run(capsys):
    with pytest.raises(SystemExit):
        main(["--name", "spacy_md", "--source", "spacy_md"])
    assert "the following arguments are required: --output" in capsys.readouterr().err
