"""The stage that fits and encodes block by block makes what a fit in memory makes, and fails in one line."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import stage
from pipeline.codec import load, read_codes, write_codes
from pipeline.codecs import fit_streamed, streamed_codes
from pipeline.codecs.fit_streamed import chunks, main
from pipeline.codecs.successive_refinement import build
from pipeline.embeddings.selection import Block
from pipeline.store import EmbeddingTable, unit_rows, write_embedding

ROWS = (np.random.default_rng(0).standard_normal((6000, 12)) * 0.8 ** np.arange(12)).astype(np.float32)
WORDS = [f"wört {number}" for number in range(len(ROWS))]


def command(tmp_path, *inputs, name="successive_refinement_48", codes="codes.parquet"):
    outputs = ["--output", str(tmp_path / "codec.safetensors"), "--codes", str(tmp_path / codes)]
    return ["--inputs", *map(str, inputs), "--representation", name, *outputs]


def made(tmp_path):
    """The codec's arrays, the words and the codes."""
    words, codes = read_codes(tmp_path / "codes.parquet", {"codec": "codec.safetensors"})
    return load(tmp_path / "codec.safetensors").shared, words, codes["bits"]


@pytest.fixture
def table(tmp_path):
    write_embedding(tmp_path / "table.parquet", EmbeddingTable(WORDS, ROWS))
    return tmp_path / "table.parquet"


@pytest.fixture
def in_memory():
    unit = unit_rows(ROWS)
    codec = build("successive_refinement_48", 0).fit(unit)
    return codec.shared, codec.encode(unit)["bits"]


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], strict=True)


def test_a_table_is_encoded_as_in_memory(tmp_path, table, in_memory):
    """One chunk holds these rows, so that even the sums are the same."""
    assert stage.run(main, command(tmp_path, table)) == 0
    shared, words, bits = made(tmp_path)
    assert_same(shared, in_memory[0])
    assert words == WORDS
    np.testing.assert_array_equal(bits, in_memory[1])


def test_chunk_after_chunk_a_row_group_each(tmp_path, table, in_memory, monkeypatch):
    monkeypatch.setattr(fit_streamed.chunks, "__defaults__", (4096,))
    assert stage.run(main, command(tmp_path, table)) == 0
    shared, words, bits = made(tmp_path)
    np.testing.assert_array_equal(shared["order"], in_memory[0]["order"])
    np.testing.assert_allclose(shared["means"].astype(float), in_memory[0]["means"].astype(float), atol=2e-3)
    assert words == WORDS
    codec = load(tmp_path / "codec.safetensors")
    np.testing.assert_array_equal(bits, codec.encode(unit_rows(ROWS))["bits"])
    groups = pq.ParquetFile(tmp_path / "codes.parquet").metadata
    assert [groups.row_group(number).num_rows for number in range(groups.num_row_groups)] == [4096, 1904]


def test_shards_and_arrays_have_the_same_rows(tmp_path, in_memory):
    """Without words they are numbered; shards are read in order, lists of any kind."""
    (tmp_path / "shards").mkdir()
    for number, part in enumerate(np.split(ROWS, [2500])):
        lists = pa.array(part.astype(np.float64).tolist())
        pq.write_table(pa.table({"vector": lists}), tmp_path / f"shards/{number}.parquet", row_group_size=999)
    np.save(tmp_path / "rows.npy", ROWS)
    for source in ("shards", "rows.npy"):
        assert stage.run(main, command(tmp_path, tmp_path / source)) == 0
        shared, words, bits = made(tmp_path)
        assert_same(shared, in_memory[0])
        assert words == [str(number) for number in range(len(ROWS))]
        np.testing.assert_array_equal(bits, in_memory[1])


def test_chunks_are_whole_whatever_the_blocks():
    blocks = [Block(WORDS[a:b], ROWS[a:b], "", range(a, b)) for a, b in ((0, 3), (3, 1000), (1000, 1001), (1001, 1100))]
    found = list(chunks(blocks, 500))
    assert [len(words) for words, _ in found] == [500, 500, 100]
    assert [word for words, _ in found for word in words] == WORDS[:1100]
    np.testing.assert_array_equal(np.concatenate([vectors for _, vectors in found]), unit_rows(ROWS[:1100]))


def test_a_block_is_written_before_the_next_is_made(tmp_path):
    """And the file is the one that is written at once, but for its row groups."""
    codec = build("successive_refinement_20", 0).fit(ROWS)
    facts, taken = {"codec": "c", "a": 'quoted "ä"'}, []

    def blocks():
        for start in range(0, len(ROWS), 2000):
            taken.append((tmp_path / "streamed").stat().st_size if start > 2000 else 0)
            yield WORDS[start : start + 2000], codec.encode(ROWS[start : start + 2000])

    streamed_codes.write(tmp_path / "streamed", iter(WORDS), blocks(), facts)
    write_codes(tmp_path / "whole", WORDS, codec.encode(ROWS), facts)
    assert taken[2] > 2000 * 3
    (words, codes), (same, at_once) = (read_codes(tmp_path / name, facts) for name in ("streamed", "whole"))
    assert words == same
    np.testing.assert_array_equal(codes["bits"], at_once["bits"])
    footers = [pq.read_metadata(tmp_path / name).metadata for name in ("streamed", "whole")]
    for fact in (b"codec", b"a", b"layout", b"sha256"):
        assert footers[0][fact] == footers[1][fact]


@pytest.mark.parametrize(
    ("inputs", "name", "message"),
    [
        (["absent.parquet"], "successive_refinement_48", "absent.parquet: no Parquet file there"),
        (["absent.npy"], "successive_refinement_48", "absent.npy: cannot be read (No such file or directory)"),
        (["bad.npy"], "successive_refinement_48", "bad.npy: row 2500 ('2500'): NaN or infinity"),
        (["words.parquet"], "successive_refinement_48", "words.parquet: no column 'vector'; it has word"),
        (["table.parquet", "x.npy"], "successive_refinement_48", "--inputs: give one .npy file, or Parquet files"),
        (["table.parquet"], "sign", "successive_refinement has no codec 'sign'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, table, capsys, inputs, name, message):
    spoiled = ROWS.copy()
    spoiled[2500, 3] = np.nan
    np.save(tmp_path / "bad.npy", spoiled)
    pq.write_table(pa.table({"word": ["a"]}), tmp_path / "words.parquet")
    before = set(tmp_path.iterdir())
    assert stage.run(main, command(tmp_path, *(tmp_path / one for one in inputs), name=name)) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("reading", "what"), [(2, "vectors"), (3, "words"), (4, "words")])
def test_rows_that_change_while_they_are_read_leave_nothing(tmp_path, capsys, monkeypatch, reading, what):
    np.save(tmp_path / "rows.npy", ROWS)
    readings = []

    def shrinking(blocks):
        readings.append(blocks)
        for words, vectors in chunks(blocks):
            kept = len(words) - (len(readings) == reading)
            yield words[:kept], vectors[:kept]

    monkeypatch.setattr(fit_streamed, "chunks", shrinking)
    assert stage.run(main, command(tmp_path, tmp_path / "rows.npy")) == 1
    assert f"error: the {what} have changed while they were read: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.npy"]


def test_one_file_is_not_both_outputs(tmp_path, table, capsys):
    assert stage.run(main, command(tmp_path, table, codes="codec.safetensors")) == 1
    assert "codec.safetensors is --output too" in capsys.readouterr().err


# Of this process alone: ru_maxrss begins with what the process that started it had.
PEAK = """
import re, sys
from pathlib import Path
from pipeline.codecs.fit_streamed import main
main(sys.argv[1:])
print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_memory_does_not_grow_with_the_rows(tmp_path, suffix):
    """Four times the rows, more than the sample in both; the Parquet files are one row group."""
    peaks = []
    for rows in (80_000, 320_000):
        x = np.random.default_rng(0).standard_normal((rows, 100), dtype=np.float32)
        path = tmp_path / f"{rows}.{suffix}"
        if suffix == "npy":
            np.save(path, x)
        else:
            column = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 100)
            pq.write_table(pa.table({"vector": column}), path)
        arguments = [sys.executable, "-c", PEAK, *command(tmp_path, path)]
        peaks.append(int(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] < 1.15 * peaks[0]
