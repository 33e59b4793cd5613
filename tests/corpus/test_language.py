"""The split of a corpus for language models: whole documents, on one side, for good."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline import store
from pipeline.corpus import language
from pipeline.stage import UserError


def shard(path: Path, rows: list[tuple[str, str]]) -> None:
    store.write_parquet(path, pa.table({"id": [r[0] for r in rows], "text": [r[1] for r in rows]}))


def contents(folder: Path) -> dict[str, list[tuple[str, str]]]:
    found = {}
    for part in language.SHARES:
        tables = [store.read_parquet(one) for one in store.shards(folder / part)]
        found[part] = [(r["id"], r["text"]) for table in tables for r in table.to_pylist()]
    return found


def test_every_document_is_on_one_side_and_stays_there(tmp_path: Path) -> None:
    rows = [(f"page/{n}", f"text {n}") for n in range(1000)]
    shard(tmp_path / "few/shard-00000.parquet", rows[:600])
    language.split(tmp_path / "few", tmp_path / "a")
    shard(tmp_path / "all/shard-00000.parquet", rows[600:])
    shard(tmp_path / "all/shard-00001.parquet", rows[:600])
    counts = language.split(tmp_path / "all", tmp_path / "b")
    few, many = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert sorted(row for part in many.values() for row in part) == sorted(rows)
    assert all(set(few[part]) <= set(many[part]) for part in language.SHARES)
    assert counts == {part: len(found) for part, found in many.items()}
    assert [round(counts[part] / 10) for part in language.SHARES] == pytest.approx([80, 10, 10], abs=4)


def test_a_text_that_occurs_again_is_left_out(tmp_path: Path) -> None:
    rows = [(f"page/{n}", f"text {n % 300}") for n in range(600)]
    shard(tmp_path / "in/shard-00000.parquet", rows[:300])
    shard(tmp_path / "in/shard-00001.parquet", rows[300:])
    language.split(tmp_path / "in", tmp_path / "out")
    kept = [row for part in contents(tmp_path / "out").values() for row in part]
    assert sorted(kept) == sorted(rows[:300])


def test_too_few_documents_are_refused(tmp_path: Path) -> None:
    shard(tmp_path / "in/shard-00000.parquet", [("page/1", "text")])
    with pytest.raises(UserError, match=r"in: none of its 1 documents falls to .*snn\.networks"):
        language.split(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_documents_come_back_in_order(tmp_path: Path) -> None:
    kind = pa.schema({"id": pa.string(), "tokens": pa.list_(pa.int32())})
    for number, rows in enumerate(([[1, 2, 0], [0]], [[5, 0]])):
        table = pa.table({"id": ["x"] * len(rows), "tokens": rows}, kind)
        store.write_parquet(tmp_path / store.shard_name(number), table, {"vocabulary_size": "9"})
    found = language.documents(tmp_path)
    assert [one.tolist() for one in found] == [[1, 2, 0], [0], [5, 0]]
    assert found[0].dtype == np.int32
    assert language.fact(tmp_path, "vocabulary_size") == 9
    with pytest.raises(UserError, match=r"shard-00000\.parquet: says nothing of end_of_text"):
        language.fact(tmp_path, "end_of_text")
