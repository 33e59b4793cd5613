"""The tokenizer: exact, deterministic, of the size asked for."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline import stage, store
from pipeline.corpus import tokenizer as stage_module
from pipeline.corpus.tokenizer import END_OF_TEXT, load, train
from pipeline.stage import UserError

TEXTS = ["FIne words and fine words, and THE words.", "the end of the words"] * 50


def test_size_special_tokens_and_file(documents: Path, tokenizer_json: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    assert tokenizer.get_vocab_size() == 3000
    assert tokenizer.token_to_id(END_OF_TEXT) == 0
    assert tokenizer.normalizer.normalize_str("Ａﬁ THE") == "afi the"


def test_same_shards_same_bytes(documents: Path, tokenizer_json: Path, tmp_path: Path) -> None:
    arguments = ["--documents", documents, "--vocabulary-size", 3000, "--lowercase", "--output", tmp_path / "t.json"]
    assert stage.run(stage_module.main, list(map(str, arguments))) == 0
    assert (tmp_path / "t.json").read_bytes() == tokenizer_json.read_bytes()


def test_case_is_kept_unless_asked() -> None:
    kept = train([TEXTS], 270, lowercase=False)
    assert kept.decode(kept.encode("Ａ THE").ids) == "A THE"
    lowered = train([TEXTS], 270, lowercase=True)
    assert lowered.decode(lowered.encode("Ａ THE").ids) == "a the"


def test_more_special_tokens() -> None:
    tokenizer = train([TEXTS], 270, special_tokens=[END_OF_TEXT, "<|pad|>"])
    assert tokenizer.token_to_id("<|pad|>") == 1


@given(text=st.text())
def test_decoding_gives_the_normalised_text(tokenizer_json: Path, text: str) -> None:
    tokenizer = load(tokenizer_json)
    for given_text in (text, f"{text} {END_OF_TEXT}{text}"):
        ids = tokenizer.encode(given_text).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == tokenizer.normalizer.normalize_str(given_text)
        assert 0 not in ids  # end of text cannot be written into a text


@pytest.mark.parametrize(
    ("size", "special_tokens", "words"),
    [
        (5000, [END_OF_TEXT], ["5000", "only"]),
        (256, [END_OF_TEXT], ["256", "257"]),
        (290, ["<|pad|>"], [END_OF_TEXT]),
        (290, [END_OF_TEXT, END_OF_TEXT], ["different"]),
    ],
)
def test_what_cannot_be_trained(size: int, special_tokens: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        train([TEXTS], size, special_tokens=special_tokens)
    assert all(word in str(error.value) for word in words), error.value


def test_too_large_a_vocabulary_names_both_numbers_and_writes_nothing(
    documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--documents", documents, "--vocabulary-size", 1_000_000, "--output", tmp_path / "t.json"]
    assert stage.run(stage_module.main, list(map(str, arguments))) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    every = train(
        [[text for shard in store.shards(documents) for text in store.read_parquet(shard)["text"].to_pylist()]],
        3000,
        False,
    )
    assert line.startswith("error: a vocabulary of 1000000 tokens was asked for; the corpus gives only ")
    assert int(line.split()[-1]) > every.get_vocab_size()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b'{"version": "1.0"'])
def test_bad_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"tokenizer\.json: "):
        load(path)


def test_no_documents(tmp_path: Path) -> None:
    assert stage.run(stage_module.main, ["--documents", str(tmp_path), "--output", str(tmp_path / "t.json")]) == 1
