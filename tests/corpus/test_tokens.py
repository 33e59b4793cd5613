"""Token shards: what a plain loop gives, under the same names; and a stage that no kill can hang."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from pipeline import stage, store
from pipeline.corpus import tokens as stage_module
from pipeline.corpus.tokenizer import END_OF_TEXT, load
from pipeline.corpus.tokens import encode, write_tokens
from pipeline.stage import UserError


@pytest.fixture(scope="module")
def tokens(documents: Path, tokenizer_json: Path) -> Path:
    output = documents.parent / "tokens"
    write_tokens(documents, tokenizer_json, output, workers=2)
    return output


def test_same_as_a_plain_loop(documents: Path, tokenizer_json: Path, tokens: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    assert len(store.shards(documents)) > 3
    assert [shard.name for shard in store.shards(tokens)] == [shard.name for shard in store.shards(documents)]
    for source, made in zip(store.shards(documents), store.shards(tokens), strict=True):
        texts, table = store.read_parquet(source), store.read_parquet(made)
        assert str(table.schema.field("tokens").type) == "list<element: int32>"
        assert table["id"].to_pylist() == texts["id"].to_pylist()
        for text, ids in zip(texts["text"].to_pylist(), table["tokens"].to_pylist(), strict=True):
            assert ids == [*tokenizer.encode(text).ids, 0]
            assert tokenizer.decode(ids[:-1], skip_special_tokens=False) == tokenizer.normalizer.normalize_str(text)
        assert table.schema.metadata[b"tokenizer_sha256"].decode() == store.digest(tokenizer_json)
        assert table.schema.metadata[b"documents_sha256"].decode() == store.digest(documents)
        assert table.schema.metadata[b"end_of_text"] == b"0"


def test_workers_and_batches_change_nothing(
    documents: Path, tokenizer_json: Path, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--documents", documents, "--tokenizer", tokenizer_json, "--workers", 1, "--output", tmp_path / "one"]
    assert stage.run(stage_module.main, list(map(str, arguments))) == 0
    assert store.digest(tmp_path / "one") == store.digest(tokens)
    monkeypatch.setattr(stage_module, "BATCH_ROWS", 3)
    monkeypatch.setattr(stage_module, "PIECE_CHARACTERS", 20_000)
    monkeypatch.setattr(stage_module, "ROW_GROUP_TOKENS", 1000)
    shard = max(store.shards(documents), key=lambda shard: store.open_parquet(shard).metadata.num_rows)
    made = stage_module.tokenize_shard(shard, load(tokenizer_json), 0, {}, tmp_path / "x")
    whole = store.read_parquet(tokens / shard.name)
    assert store.read_parquet(tmp_path / "x").to_pylist() == whole.to_pylist()
    assert store.open_parquet(tmp_path / "x").num_row_groups > 1
    assert made == sum(map(len, whole["tokens"].to_pylist()))


def test_end_of_text_in_a_text_is_text(tokenizer_json: Path) -> None:
    (ids,) = encode(load(tokenizer_json), [f"before {END_OF_TEXT} after"], 0).to_pylist()
    assert ids.index(0) == len(ids) - 1
    assert encode(load(tokenizer_json), ["", "a"], 0).to_pylist()[0] == [0]


def test_each_thread_has_its_tokenizer_and_calls_keep_to_it(
    documents: Path, tokenizer_json: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def spy(shard: Path, tokenizer: Tokenizer, *rest: object) -> int:
        seen.append((id(tokenizer), os.environ.get("TOKENIZERS_PARALLELISM")))
        time.sleep(0.05)
        return 1

    monkeypatch.setattr(stage_module, "tokenize_shard", spy)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    assert write_tokens(documents, tokenizer_json, tmp_path / "out", workers=2) == len(store.shards(documents))
    assert len(set(seen)) == 2
    assert {parallelism for _, parallelism in seen} == {"false"}
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"


def test_bad_shard_is_one_line_and_leaves_nothing(
    documents: Path, tokenizer_json: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for shard in store.shards(documents):
        (tmp_path / shard.name).write_bytes(shard.read_bytes())
    bad = tmp_path / "shard-00002.parquet"
    bad.write_bytes(bad.read_bytes()[:1000])
    arguments = ["--documents", tmp_path, "--tokenizer", tokenizer_json, "--output", tmp_path / "out", "--workers", 2]
    assert stage.run(stage_module.main, list(map(str, arguments))) == 1
    errors = capsys.readouterr().err
    assert errors.splitlines()[-1].startswith(f"error: {bad}: not a whole Parquet file")
    assert "Traceback" not in errors
    assert not [entry for entry in tmp_path.iterdir() if "out" in entry.name]


def test_tokenizer_without_end_of_text(documents: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_str(
        '{"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}'
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="endoftext"):
        write_tokens(documents, tmp_path / "tokenizer.json", tmp_path / "out", 1)


def test_killed_and_run_again(documents: Path, tokenizer_json: Path, tokens: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.corpus.tokens", "--documents", documents, "--tokenizer", tokenizer_json]
    command += ["--output", tmp_path / "out"]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(tmp_path.glob("*/shard-*")):
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert subprocess.run(list(map(str, command)), stderr=subprocess.DEVNULL).returncode == 0
    assert store.digest(tmp_path / "out") == store.digest(tokens)
