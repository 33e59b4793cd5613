"""Documents to shards and back: nothing lost, nothing half-written, no growth of memory."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import stage, store
from pipeline.corpus import documents as stage_module
from pipeline.corpus.documents import read_texts, tidy_space, write_documents
from pipeline.corpus.source import Document
from pipeline.stage import UserError


def rows(folder: Path) -> list[tuple[str, str]]:
    tables = [store.read_parquet(shard) for shard in store.shards(folder)]
    return [(row["id"], row["text"]) for table in tables for row in table.to_pylist()]


def test_shards_hold_the_source(packaged: list[Document], tmp_path: Path) -> None:
    count = write_documents(packaged, tmp_path / "out", 500_000, {"licence": "x"})
    written = rows(tmp_path / "out")
    assert count == len(written) == len(packaged)
    assert written == [(document.id, tidy_space(document.text)) for document in packaged]
    assert [text for shard in store.shards(tmp_path / "out") for some in read_texts(shard, 7) for text in some] == [
        text for _, text in written
    ]
    sizes = [
        sum(len(text.encode()) for some in read_texts(shard) for text in some)
        for shard in sorted(store.shards(tmp_path / "out"))
    ]
    assert len(sizes) > 5
    assert all(250_000 < size <= 500_000 for size in sizes[:-1])
    schema = pq.read_schema(tmp_path / "out" / "shard-00000.parquet")
    assert (str(schema.field("id").type), str(schema.field("text").type)) == ("string", "string")
    assert schema.metadata[b"licence"] == b"x"


def test_shard_boundaries(tmp_path: Path) -> None:
    texts = ["aaaa", "bb", "cccccccccc", "d", "", "e"]
    write_documents([Document(text, text) for text in texts], tmp_path / "out", shard_bytes=6)
    assert [next(iter(read_texts(shard))) for shard in store.shards(tmp_path / "out")] == [
        ["aaaa", "bb"],
        ["cccccccccc"],
        ["d", "e"],
    ]


def test_row_groups_bound_what_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_module, "ROW_GROUP_BYTES", 100)
    write_documents([Document(str(n), "x" * 30) for n in range(10)], tmp_path / "out", 10_000)
    file = pq.ParquetFile(tmp_path / "out" / "shard-00000.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [4, 4, 2]


def test_same_input_same_bytes(packaged: list[Document], tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_documents(packaged[:50], tmp_path / name, 300_000, {"k": "v"})
    assert store.digest(tmp_path / "a") == store.digest(tmp_path / "b")


def test_white_space() -> None:
    assert tidy_space(" a\t\u00a0b \r\n\r\n\n\n c\u2028d\u3000e\x1cf \n") == "a b\n\nc\nd e\nf"
    assert tidy_space(" \n\u2003\t") == ""


@given(st.text())
def test_white_space_is_all_that_changes(text: str) -> None:
    tidy = tidy_space(text)
    assert "".join(tidy.split()) == "".join(text.split())
    assert tidy_space(tidy) == tidy
    assert "\n\n\n" not in tidy
    assert "  " not in tidy


@pytest.mark.parametrize("texts", [[], ["", " \n "]])
def test_empty_corpus(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(UserError, match="empty: mine holds no document"):
        write_documents([Document(str(n), t) for n, t in enumerate(texts)], tmp_path / "out", 100, {"source": "mine"})
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_the_source_fails(tmp_path: Path) -> None:
    write_documents([Document("1", "old")], tmp_path / "out", 100)
    path = tmp_path / "a.txt"
    path.write_bytes(b"good\n" * 100 + b"\xff")
    arguments = ["--source", "files", "--options", f'{{"paths": "{path}"}}', "--shard-bytes", "50"]
    assert stage.run(stage_module.main, [*arguments, "--output", str(tmp_path / "out")]) == 1
    assert rows(tmp_path / "out") == [("1", "old")]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.txt", "out"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "nowhere"], ["'nowhere'", "packaged"]),
        (["--options", "{"], ["JSON"]),
        (["--options", '{"limits": 1}'], ["'limits'"]),
        (["--shard-bytes", "0"], ["--shard-bytes", "0"]),
    ],
)
def test_bad_arguments_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    assert stage.run(stage_module.main, [*arguments, "--output", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in words)
    assert not (tmp_path / "out").exists()


def test_damaged_shard_is_named(documents: Path, tmp_path: Path) -> None:
    data = bytearray(store.shards(documents)[0].read_bytes())
    data[2000:4000] = b"\0" * 2000
    (tmp_path / "shard-00000.parquet").write_bytes(data)
    with pytest.raises(UserError, match=r"shard-00000\.parquet: damaged"):
        list(read_texts(tmp_path / "shard-00000.parquet"))


def test_command_line_and_memory(tmp_path: Path) -> None:
    """Ten times the corpus takes the same memory, up to a row group or two."""

    def peak(lines: int) -> int:
        path = tmp_path / f"{lines}.txt.zst"
        with pa.output_stream(path, compression="zstd") as file:
            for number in range(lines):
                file.write(f"{number} {'some words that fill a line ' * 40}\n".encode())
        code = "import resource, sys; from pipeline import stage; from pipeline.corpus import documents"
        code += "; assert not stage.run(documents.main)"
        code += "; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        command = [sys.executable, "-c", code, "--source", "files", "--options", f'{{"paths": "{path}"}}']
        command += ["--shard-bytes", "100000000", "--output", str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert f"{lines} documents in 1 shard" in done.stderr
        return int(done.stdout) // 1024

    small, large = peak(6_000), peak(60_000)  # 7 and 70 MB of text
    assert large - small < 30, f"{small} MiB for 7 MB of text, {large} MiB for 70 MB"
