"""What is read ahead of a slow consumer, in bytes that Arrow holds, and that the rows are those of `datasets`."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus import huggingface, streamed_parquet

ROWS, ROW_GROUP, TEXT_BYTES = 400, 40, 50_000  # 20 MB, 2 MB a row group


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two Parquet files; texts that neither a dictionary nor compression makes small."""
    folder = tmp_path_factory.mktemp("repository")
    random = np.random.default_rng(0)
    letters = random.integers(32, 127, (ROWS, TEXT_BYTES), np.uint8)
    texts = [row.tobytes().decode() for row in letters]
    for number in range(2):
        table = pa.table({"text": texts, "row": pa.array(range(ROWS), pa.int32() if number else pa.int64())})
        pq.write_table(table, folder / f"train-{number:05d}.parquet", row_group_size=ROW_GROUP)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


def builder(repository: Path) -> Any:
    import datasets

    return datasets.load_dataset_builder(str(repository))


def held(rows: Iterator[Any]) -> int:
    """The most bytes that Arrow's memory pools hold more than now, while the rows are taken slowly."""
    pool, most = pa.default_memory_pool(), 0
    before = pool.bytes_allocated()
    for number, _ in enumerate(rows):
        if number % 20 == 0:
            time.sleep(0.05)
        most = max(most, pool.bytes_allocated() - before)
    return most


def test_nothing_is_read_ahead(repository: Path) -> None:
    """A row group's column chunk, and a batch of its rows; the dataset scanner comes to hold a file."""
    rows = iter(huggingface.Source(str(repository)))
    assert held(rows) < 3.5 * ROW_GROUP * TEXT_BYTES


def test_rows_are_those_of_datasets(repository: Path) -> None:
    """In order, and in the types of the first file's schema."""
    ours, theirs = builder(repository), builder(repository)
    streamed_parquet.read_in_order(ours)
    found, expected = (one.as_streaming_dataset(split="train") for one in (ours, theirs))
    assert found.features == expected.features
    assert found.num_shards == expected.num_shards == 2
    assert list(found.skip(ROW_GROUP + 3)) == list(expected.skip(ROW_GROUP + 3))
    assert list(found.reshard().shard(20, 13)) == list(expected.reshard().shard(20, 13))


def test_other_formats_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a b"}\n{"text": "c"}\n', encoding="utf-8")
    assert [item.text for item in huggingface.Source(str(tmp_path))] == ["a b", "c"]


def test_rows_in_front_of_a_damaged_page_are_read(repository: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.parquet"
    content = bytearray((repository / "train-00000.parquet").read_bytes())
    chunk = pq.read_metadata(repository / "train-00000.parquet").row_group(4).column(0)
    content[chunk.data_page_offset : chunk.data_page_offset + 64] = bytes(64)
    path.write_bytes(content)
    rows = iter(huggingface.Source(str(tmp_path)))
    with pytest.raises(huggingface.UserError, match=f"damaged.parquet: after row {4 * ROW_GROUP}: "):
        list(rows)
