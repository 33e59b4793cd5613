"""Parts put together: every shard once, in the parts' order, and what was skipped."""

from pathlib import Path

import pytest

from pipeline import store
from pipeline.corpus.documents import read_texts, write_documents
from pipeline.corpus.join import join, main
from pipeline.corpus.source import Document, Skipped
from pipeline.stage import UserError


def part(folder: Path, *texts: str | Skipped) -> Path:
    write_documents([Document(t, t) if isinstance(t, str) else t for t in texts], folder, shard_bytes=4)
    return folder


def test_shards_follow_the_order_of_parts(tmp_path: Path) -> None:
    first = part(tmp_path / "1", "aaaa", Skipped("x", "cut short"), "bbbb")
    second = part(tmp_path / "0", "cccc")
    main(["--parts", str(first), str(second), "--output", str(tmp_path / "out")])
    shards = store.shards(tmp_path / "out")
    assert [shard.name for shard in shards] == [f"shard-{n:05d}.parquet" for n in range(3)]
    assert [text for shard in shards for some in read_texts(shard) for text in some] == ["aaaa", "bbbb", "cccc"]
    assert store.read_json(tmp_path / "out/skipped.json") == [{"where": "x", "reason": "cut short"}]


def test_a_part_may_be_empty_but_not_all_of_them(tmp_path: Path) -> None:
    first = part(tmp_path / "0", "old")
    write_documents([Skipped("x", "cut short")], tmp_path / "1", 4, may_be_empty=True)
    write_documents([Skipped("x", "cut short")], tmp_path / "2", 4, may_be_empty=True)
    assert join([first, tmp_path / "1", tmp_path / "2"], tmp_path / "out") == 1
    assert store.read_json(tmp_path / "out/skipped.json") == [{"where": "x", "reason": "cut short"}]
    with pytest.raises(UserError, match="the corpus is empty: none of 2 parts"):
        join([tmp_path / "1", tmp_path / "2"], tmp_path / "out")
    with pytest.raises(UserError, match="3: no such directory"):
        join([first, tmp_path / "3"], tmp_path / "out")
    assert [text for some in read_texts(tmp_path / "out/shard-00000.parquet") for text in some] == ["old"]
