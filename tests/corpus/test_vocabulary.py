"""The word vocabulary against a plain count of the same text."""

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline import stage, store
from pipeline.corpus import vocabulary as stage_module
from pipeline.corpus.vocabulary import choose, count_words, read_words, words
from pipeline.stage import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't panic, o'neill!", ["Don't", "panic", "o'neill"]),
        ("don’t", ["don't"]),
        ("john's dogs' it's WORLD'S x's-y", ["john", "dogs", "it", "WORLD", "x", "y"]),
        ("a 'quoted' word", ["a", "quoted", "word"]),
        ("well-known e-mail", ["well", "known", "e", "mail"]),
        ("19th h2o b4 snake_case 3d Ⅷ x²", []),
        ("naïve Straße Ἀπόλλων 東京", ["naïve", "Straße", "Ἀπόλλων", "東京"]),
        ("cafe\u0301s हिन्दी", ["cafe\u0301s", "हिन्दी"]),
        ("rock'n'roll d'anconia's", ["rock'n'roll", "d'anconia"]),
        ("' '' - 's 5's", ["s"]),
    ],
)
def test_what_a_word_is(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text())
def test_words_are_of_letters(text: str) -> None:
    for word in words(text):
        assert word[0].isalpha()
        assert not re.search(r"[\d_\s]", word)
        assert not any(c.isnumeric() and not c.isalpha() for c in word)
        assert words(word) == [word]


@pytest.fixture(scope="module")
def counted(documents: Path, tokenizer_json: Path) -> Counter[str]:
    """The same text in one piece, counted without the stage's streaming, shards and processes."""
    normalizer = Tokenizer.from_file(str(tokenizer_json)).normalizer
    texts = [text for shard in store.shards(documents) for text in store.read_parquet(shard)["text"].to_pylist()]
    return Counter(word for text in texts for word in words(normalizer.normalize_str(text)))


def test_counts(documents: Path, tokenizer_json: Path, counted: Counter[str]) -> None:
    assert count_words(documents, tokenizer_json, workers=2) == counted
    assert counted.total() > 50_000
    assert not any(word != word.lower() for word in counted)


def test_table(documents: Path, tokenizer_json: Path, counted: Counter[str], tmp_path: Path) -> None:
    always = tmp_path / "always.txt"
    always.write_bytes("Zebra-crossing\r\nＴｈｅ\n\nthe\n  O’Neill \nnosuchword".encode())
    arguments = ["--documents", documents, "--tokenizer", tokenizer_json, "--always", always, "--size", 3000]
    arguments += ["--workers", 2, "--min-count", 2, "--output", tmp_path / "v.parquet"]
    assert stage.run(stage_module.main, list(map(str, arguments))) == 0
    table = store.read_parquet(tmp_path / "v.parquet")
    assert [str(field.type) for field in table.schema] == ["string", "int64", "bool"]
    rows = [tuple(row.values()) for row in table.to_pylist()]
    first = ["zebra-crossing", "the", "o'neill", "nosuchword"]
    assert rows[:4] == [(word, counted[word], True) for word in first]
    assert counted["the"] > 1000
    corpus = sorted(((-count, word) for word, count in counted.items() if word not in first))
    assert rows[4:] == [(word, -count, False) for count, word in corpus[:2996]]
    facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert (facts["running_words"], facts["distinct_words"]) == (str(counted.total()), str(len(counted)))
    assert facts["documents_sha256"] == store.digest(documents)
    assert facts["tokenizer_sha256"] == store.digest(tokenizer_json)
    assert facts["always_sha256"] == store.digest(always)


def test_ties_by_alphabet_and_least_count() -> None:
    counts = {"b": 2, "a": 2, "c": 1, "d": 3}
    assert choose(counts, ["c", "x", "c"], 5, min_count=2)["word"].to_pylist() == ["c", "x", "d", "a", "b"]


@pytest.mark.parametrize(
    ("size", "always", "min_count", "numbers"),
    [(5, [], 1, ["5", "4"]), (5, ["x"], 2, ["5", "3 of count 2", "4"]), (1, ["x", "y"], 1, ["1", "2"])],
)
def test_too_few_words_are_named(size: int, always: list[str], min_count: int, numbers: list[str]) -> None:
    with pytest.raises(UserError) as error:
        choose({"b": 2, "a": 2, "c": 1, "d": 3}, always, size, min_count)
    assert all(number in str(error.value) for number in numbers)


def test_too_few_words_in_the_corpus(documents: Path, tokenizer_json: Path, tmp_path: Path) -> None:
    arguments = ["--documents", documents, "--tokenizer", tokenizer_json, "--size", 10**6, "--workers", 1]
    assert stage.run(stage_module.main, [*map(str, arguments), "--output", str(tmp_path / "v.parquet")]) == 1
    assert not list(tmp_path.iterdir())


def test_bad_list_of_words(tokenizer_json: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-words"):
        read_words(tmp_path / "no-words", tokenizer_json)
    (tmp_path / "always.txt").write_bytes(b"good\nb\xffd\n")
    with pytest.raises(UserError, match=r"always\.txt: line 2, byte 2"):
        read_words(tmp_path / "always.txt", tokenizer_json)
