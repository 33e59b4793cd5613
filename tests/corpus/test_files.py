"""A user's own files: every format and compression reads the same, and every bad one is named in one line."""

import gzip
import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus.files import Source
from pipeline.corpus.source import Document, Skipped, open_source
from pipeline.stage import UserError

TEXTS = ["Hello, world", "Zürich – 東京", "third"]


def pack(path: Path, plain: bytes) -> Path:
    """Write `plain` under `path`, compressed as its suffix says."""
    data = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(path.suffix, bytes)(plain)
    path.write_bytes(data)
    return path


def parquet_bytes(column: pa.Array, name: str = "text") -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: column}), sink)
    return sink.getvalue().to_pybytes()


def contents(kind: str) -> bytes:
    if kind == ".parquet":
        return parquet_bytes(pa.array(TEXTS))
    lines = TEXTS if kind == ".txt" else [json.dumps({"text": text, "n": 1}) for text in TEXTS]
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".parquet"])
def test_every_format_reads_the_same(tmp_path: Path, kind: str, compression: str) -> None:
    path = pack(tmp_path / f"a{kind}{compression}", contents(kind))
    expected = [Document(f"{path}:{number}", text) for number, text in enumerate(TEXTS, start=1)]
    assert list(Source(str(path))) == expected


def test_files_are_sorted_and_read_once(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "sub/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    source = Source([f"{tmp_path}/b.txt", f"{tmp_path}/**/*.txt"])
    assert [document.text for document in source] == ["a.txt", "b.txt", "sub/c.txt"]
    assert set(json.loads(source.facts()["sha256"])) == {f"{tmp_path}/{n}" for n in ("a.txt", "b.txt", "sub/c.txt")}


def test_a_name_with_glob_characters_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("here")
    assert [document.text for document in Source(f"{tmp_path}/a[1].txt")] == ["here"]


def test_units_of_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\n \n\n\nthree\nfour")
    documents = {unit: list(Source(str(path), unit)) for unit in ("line", "paragraph", "file")}
    assert [text for _, text in documents["line"]] == ["one", "two", " ", "", "", "three", "four"]
    assert documents["paragraph"] == [(f"{path}:1", "one\ntwo"), (f"{path}:6", "three\nfour")]
    assert documents["file"] == [(str(path), "one\ntwo\n \n\n\nthree\nfour")]


def test_text_field_and_blank_lines_of_json(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.jsonl", b'{"body": "x"}\n\n{"body": "y"}')
    assert list(Source(str(path), text_field="body")) == [(f"{path}:1", "x"), (f"{path}:3", "y")]


def test_zst_of_several_frames(tmp_path: Path) -> None:
    compress = zstandard.ZstdCompressor().compress
    (tmp_path / "a.txt.zst").write_bytes(compress(b"one\ntw") + compress(b"o\n") + compress(b"three"))
    assert [document.text for document in Source(f"{tmp_path}/a.txt.zst")] == ["one", "two", "three"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r")), max_size=5))
def test_lines_survive_any_text(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_bytes("".join(f"{line}\n" for line in ["first", *lines]).encode())
    assert [document.text for document in Source(str(path))] == ["first", *lines]


def test_lines_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.corpus.files.CHUNK_BYTES", 3)
    path = tmp_path / "a.txt"
    path.write_text("first\nsecond line\n\nß3\n")
    assert [document.text for document in Source(str(path))] == ["first", "second line", "", "ß3"]


def error_of(path: Path | str, **options: str) -> str:
    with pytest.raises(UserError) as error:
        list(Source(str(path), **options))
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "plain", "words"),
    [
        ("a.txt", b"good\nb\xffd\n", ["line 2", "byte 2", "0xff", "UTF-8"]),
        ("a.txt.gz", b"good\nb\xffd\n", ["line 2", "byte 2", "UTF-8"]),
        ("a.jsonl", b'{"text": "a"}\n{"text": "b"\n', ["line 2", "JSON", "character"]),
        ("a.jsonl", b'{"text": "a"}\n\n["b"]\n', ["line 3", "object"]),
        ("a.jsonl", b'{"text": "a"}\n{"body": "b"}\n', ["line 2", "'text'", "'body'"]),
        ("a.jsonl", b'{"text": "a"}\n{"text": 7}\n', ["line 2", "'text'", "int"]),
        ("a.jsonl", b'{"text": null}\n', ["line 1", "'text'", "NoneType"]),
        ("a.jsonl", b'{"text": "\\ud800"}\n', ["line 1", "surrogate"]),
        ("a.jsonl", b"[" * 100_000, ["line 1", "nested"]),
        ("a.jsonl", b'{"n": ' + b"9" * 5000 + b"}", ["line 1"]),
        ("a.parquet", parquet_bytes(pa.array(["a", None])), ["row 2", "'text'"]),
        ("a.parquet", parquet_bytes(pa.array([1, 2])), ["row 1", "'text'", "int"]),
        ("a.parquet", parquet_bytes(pa.array(["a"]), "body"), ["'text'", "body"]),
        ("a.parquet.gz", parquet_bytes(pa.array(["a"]), "body"), ["'text'", "body"]),
        ("a.parquet", parquet_bytes(pa.array([b"a", b"\xff"]).view(pa.string())), ["row 2", "UTF-8"]),
        ("a.csv", b"a,b\n", ["kind", ".txt", ".jsonl", ".parquet"]),
        ("a.gz", b"a,b\n", ["kind", ".txt"]),
    ],
)
def test_bad_contents_are_named(tmp_path: Path, name: str, plain: bytes, words: list[str]) -> None:
    message = error_of(pack(tmp_path / name, plain))
    assert message.startswith(f"{tmp_path / name}: ")
    assert all(word in message for word in words), message


@pytest.mark.parametrize("kept", [0, 0.3, 0.98])
@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "a.parquet.zst"])
def test_truncated_files_are_named(tmp_path: Path, name: str, kept: float) -> None:
    kind = Path(name.removesuffix(".gz").removesuffix(".zst")).suffix
    path = pack(tmp_path / name, contents(kind))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    message = error_of(path)
    assert message.startswith(f"{path}: ")
    assert "truncated" in message or "not a whole Parquet file" in message


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst", "a.parquet", "a.parquet.gz"])
def test_other_bytes_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"these are no compressed bytes" * 10)
    assert error_of(tmp_path / name).startswith(f"{tmp_path / name}: ")


def test_damaged_parquet_page_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"some text {n}" for n in range(5000)]}), path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[200:400] = b"\0" * 200
    path.write_bytes(data)
    assert "damaged Parquet file" in error_of(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    assert error_of(tmp_path / "a.txt") == f"{tmp_path}/a.txt: no such file"
    assert error_of(f"{tmp_path}/*.txt") == f"{tmp_path}/*.txt: no file matches"
    assert "is a directory" in error_of(tmp_path)


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    link = tmp_path / "a.txt"
    link.symlink_to("/proc/self/mem")  # can be opened, and reading it fails, for root as well
    assert error_of(link).startswith(f"{link}: cannot be read")


def test_bad_file_stops_before_the_good_ones_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("good")
    with pytest.raises(UserError, match=r"b\.doc"):
        next(iter(Source([f"{tmp_path}/a.txt", str(pack(tmp_path / "b.doc", b""))])))


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst", "a.jsonl.zst"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    line = json.dumps({"text": "some words " * 50}).encode() + b"\n"
    path = pack(tmp_path / name, line * 40_000)  # 22 MB
    tracemalloc.start()
    try:
        assert sum(1 for _ in Source(str(path))) == 40_000
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()


def test_a_damaged_file_can_be_skipped_and_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "b.txt").write_bytes(b"three\n\xff\nfour\n")
    (tmp_path / "c.txt").write_text("five\n")
    options = {"paths": f"{tmp_path}/*.txt"}
    with pytest.raises(UserError, match=r"b\.txt: line 2"):
        list(open_source("files", options))
    found = list(open_source("files", {**options, "on_error": "skip"}))
    assert [item.text for item in found if isinstance(item, Document)] == ["one", "two", "three", "five"]
    (skipped,) = (item for item in found if isinstance(item, Skipped))
    assert skipped.where == f"{tmp_path}/b.txt"
    assert "line 2" in skipped.reason
    with pytest.raises(UserError, match="on_error is 'ignore'; known are fatal, skip"):
        open_source("files", {**options, "on_error": "ignore"})
