"""The code that streams OpenWebText, on local Parquet shards of the same layout."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus.source import open_source
from pipeline.stage import UserError

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard in range(2):
        texts = [f"text {shard} {row}" for row in range(3)]
        pq.write_table(pa.table({"text": texts}), folder / f"train-{shard:05d}-of-00002.parquet")
    return folder


EXPECTED = [f"text {shard} {row}" for shard in range(2) for row in range(3)]


def test_folder_and_data_files(shards: Path) -> None:
    by_folder = open_source("huggingface", {"repository": str(shards)})
    by_files = open_source("huggingface", {"repository": "parquet", "data_files": f"{shards}/*.parquet"})
    assert [document.text for document in by_folder] == EXPECTED
    assert [document.text for document in by_files] == EXPECTED
    assert next(iter(by_files)).id == "parquet/train:1"
    assert "train" in by_folder.facts()["source"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "test"}, ["test"]),
        ({"text_field": "body"}, ["row 1", "'body'", "'text'"]),
        ({"repository": "/no/such/folder"}, ["/no/such/folder", "cannot be opened"]),
    ],
)
def test_bad_input_is_named(shards: Path, options: dict, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        list(open_source("huggingface", {"repository": str(shards), **options}))
    assert all(word in str(error.value) for word in words), error.value


def test_openwebtext_is_the_default_and_says_when_it_cannot_be_reached(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.corpus.documents", "--source", "huggingface", "--output", tmp_path / "o"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "Skylion007/openwebtext" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o").exists()
