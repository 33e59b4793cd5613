"""The stages that encode vectors to event files and back make what the codec makes in memory, and fail in one line."""

import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import codec as codecs
from pipeline import stage
from pipeline.spikes import decode, encode, event_files
from pipeline.spikes.calibration import Choice
from pipeline.store import EmbeddingTable, digest, unit_rows, write_embedding

ROWS = np.random.default_rng(0).standard_normal((2500, 12)).astype(np.float32)  # blocks of 1,024
UNIT = unit_rows(ROWS)


@pytest.fixture
def fitted(tmp_path):
    """A codec of 8 steps that clips some of the rows, and its file."""
    codec = codecs.build("phase", "phase_8", 0).fit(UNIT[:100])
    codecs.save(codec, "phase", tmp_path / "codec.safetensors", {"seed": 0})
    return codec, tmp_path / "codec.safetensors"


@pytest.fixture
def rows(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    return tmp_path / "rows.npy"


def run_encode(tmp_path, vectors, codec="codec.safetensors", *more):
    options = ["--codec", str(tmp_path / codec), "--output", str(tmp_path / "events"), *more]
    return stage.run(encode.main, ["--vectors", str(vectors), *options])


def run_decode(tmp_path, codec="codec.safetensors", output="back.npy"):
    options = ["--codec", str(tmp_path / codec), "--output", str(tmp_path / output)]
    return stage.run(decode.main, ["--events", str(tmp_path / "events"), *options])


def last_line(capsys):
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_there_and_back(tmp_path, fitted, rows, caplog):
    codec, path = fitted
    with caplog.at_level("INFO"):
        assert run_encode(tmp_path, rows, "codec.safetensors", "--shard-rows", "700") == 0
    clipped = int(codec.outside(UNIT).sum())
    assert clipped > 100
    assert f"2500 vectors; values clipped to the range of the code: {clipped}" in caplog.text
    shards = event_files.describe_folder(tmp_path / "events")
    assert [shard.rows for shard in shards] == [700, 700, 700, 400]
    header = shards[0].header
    assert header == (12, 8, False, 2500, "phase_8", digest(path), digest(rows))
    packed = np.concatenate([train.packed for train in event_files.read(tmp_path / "events")])
    codes = codec.encode(UNIT)
    np.testing.assert_array_equal(packed, codes["spikes"], strict=True)
    assert run_decode(tmp_path) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "back.npy"), codec.decode(codes), strict=True)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"rows.npy", "codec.safetensors", "events", "back.npy"}


def test_tables_and_lists_are_encoded_as_arrays_are(tmp_path, fitted):
    wanted = fitted[0].encode(UNIT)["spikes"]
    write_embedding(tmp_path / "table.parquet", EmbeddingTable([f"wört {n}" for n in range(len(ROWS))], ROWS))
    (tmp_path / "shards").mkdir()
    for number, part in enumerate(np.split(ROWS, [999])):
        lists = pa.array(part.astype(np.float64).tolist())
        pq.write_table(pa.table({"vector": lists}), tmp_path / f"shards/{number}.parquet", row_group_size=300)
    for vectors in ("table.parquet", "shards"):
        assert run_encode(tmp_path, tmp_path / vectors) == 0
        packed = np.concatenate([train.packed for train in event_files.read(tmp_path / "events")])
        np.testing.assert_array_equal(packed, wanted)


def test_spikes_with_signs(tmp_path, rows):
    codec = codecs.build("naf", "naf_8", 0).fit(UNIT)
    codecs.save(codec, "naf", tmp_path / "naf.safetensors", {"seed": 0})
    assert run_encode(tmp_path, rows, "naf.safetensors") == 0
    trains = list(event_files.read(tmp_path / "events", {"representation": "naf_8"}))
    codes = codec.encode(UNIT)
    np.testing.assert_array_equal(np.concatenate([train.packed for train in trains]), codes["spikes"])
    np.testing.assert_array_equal(np.concatenate([train.negative for train in trains]), codes["signs"])
    assert run_decode(tmp_path, "naf.safetensors") == 0
    np.testing.assert_array_equal(np.load(tmp_path / "back.npy"), codec.decode(codes))


def test_many_slots_are_encoded_some_rows_at_a_time(tmp_path, fitted, rows, monkeypatch):
    monkeypatch.setattr(encode, "BLOCK_SLOTS", 8 * 12 * 50)
    assert run_encode(tmp_path, rows) == 0
    trains = list(event_files.read(tmp_path / "events"))
    assert max(map(len, trains)) == 50
    np.testing.assert_array_equal(np.concatenate([train.packed for train in trains]), fitted[0].encode(UNIT)["spikes"])


def test_an_interrupted_run_goes_on(tmp_path, fitted, rows, monkeypatch, capsys):
    """Row 2,100 fails at first; whole shards are kept, and all is as if nothing had been."""
    codec, _ = fitted
    real, encoded = encode._block, []

    def failing(codec, x):
        encoded.append(x)
        if (x == UNIT[2100]).all(axis=1).any():
            raise stage.UserError("the lights went out")
        return real(codec, x)

    monkeypatch.setattr(encode, "_block", failing)
    assert run_encode(tmp_path, rows, "codec.safetensors", "--shard-rows", "700") == 1
    assert last_line(capsys) == f"error: {rows}: counted from row 2048: the lights went out"
    monkeypatch.setattr(encode, "_block", lambda codec, x: (encoded.append(x), real(codec, x))[1])
    encoded.clear()
    assert run_encode(tmp_path, rows, "codec.safetensors", "--shard-rows", "700") == 0
    np.testing.assert_array_equal(np.concatenate(encoded), UNIT[1400:])  # two shards were whole
    shards = event_files.describe_folder(tmp_path / "events")
    assert sum(shard.clipped for shard in shards) == codec.outside(UNIT).sum()
    packed = np.concatenate([train.packed for train in event_files.read(tmp_path / "events")])
    np.testing.assert_array_equal(packed, codec.encode(UNIT)["spikes"])


KILLED = """
import os, signal, sys
from pipeline.spikes import encode
real, calls = encode._block, []
def killed(codec, x):
    calls.append(len(x))
    if sum(calls) > 2048:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(codec, x)
encode._block = killed
encode.main(sys.argv[1:])
"""


def test_kill_9_and_the_same_command_again(tmp_path, fitted, rows):
    options = ["--vectors", str(rows), "--codec", str(fitted[1]), "--output", str(tmp_path / "events")]
    options += ["--shard-rows", "700"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *options], stderr=subprocess.DEVNULL, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "events").exists()
    left = {path.name: path.stat().st_ino for path in (tmp_path / ".events.unfinished").iterdir()}
    unfinished, first, second = sorted(left)
    assert unfinished.startswith(".shard-00002.parquet.")
    assert stage.run(encode.main, options) == 0
    found = {path.name: path.stat().st_ino for path in (tmp_path / "events").iterdir()}
    assert sorted(found) == [f"shard-0000{number}.parquet" for number in range(4)]
    assert {first: found[first], second: found[second]} == {first: left[first], second: left[second]}
    packed = np.concatenate([train.packed for train in event_files.read(tmp_path / "events")])
    np.testing.assert_array_equal(packed, fitted[0].encode(UNIT)["spikes"])


def test_events_of_another_codec_are_not_decoded(tmp_path, fitted, rows, capsys):
    assert run_encode(tmp_path, rows) == 0
    other = codecs.build("phase", "phase_8", 0).fit(UNIT)
    codecs.save(other, "phase", tmp_path / "other.safetensors", {"seed": 0})
    assert run_decode(tmp_path, "other.safetensors") == 1
    assert "shard-00000.parquet: belongs elsewhere: its codec is " in last_line(capsys)
    codecs.save(codecs.build("phase", "phase_7", 0).fit(UNIT), "phase", tmp_path / "seven.safetensors", {"seed": 0})
    assert run_decode(tmp_path, "seven.safetensors") == 1
    assert "belongs elsewhere: its representation is 'phase_8', not 'phase_7'" in last_line(capsys)
    assert not (tmp_path / "back.npy").exists()


def test_an_altered_folder_leaves_no_vectors(tmp_path, fitted, rows, capsys):
    assert run_encode(tmp_path, rows, "codec.safetensors", "--shard-rows", "1000") == 0
    path = tmp_path / "events" / "shard-00002.parquet"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 3] ^= 1
    path.write_bytes(damaged)
    assert run_decode(tmp_path) == 1
    assert last_line(capsys).startswith(f"error: {path}: ")
    path.unlink()
    assert run_decode(tmp_path) == 1
    assert last_line(capsys) == f"error: {tmp_path}/events: 2000 vectors of 2500: the last shards are missing"
    assert {one.name for one in tmp_path.iterdir()} == {"rows.npy", "codec.safetensors", "events"}


@pytest.mark.parametrize(
    ("vectors", "codec", "message"),
    [
        ("absent.npy", "codec.safetensors", "absent.npy: cannot be read (No such file or directory)"),
        ("absent.parquet", "codec.safetensors", "absent.parquet: no Parquet file there"),
        ("bad.npy", "codec.safetensors", "bad.npy: row 1500 ('1500'): NaN or infinity"),
        ("wide.npy", "codec.safetensors", "wide.npy: counted from row 0: vectors of 13 dimensions for a codec fitted"),
        ("rows.npy", "absent.safetensors", "absent.safetensors: not a whole codec file"),
        ("rows.npy", "int8.safetensors", "int8.safetensors: int8 is no spike code"),
        ("rows.npy", "refuses.safetensors", "rows.npy: counted from row 0: vector "),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, fitted, rows, capsys, vectors, codec, message):
    spoiled = ROWS.copy()
    spoiled[1500, 3] = np.nan
    np.save(tmp_path / "bad.npy", spoiled)
    np.save(tmp_path / "wide.npy", np.ones((5, 13), np.float32))
    codecs.save(codecs.build("scalar", "int8", 0).fit(UNIT), "scalar", tmp_path / "int8.safetensors", {})
    strict = codecs.build("phase", "phase_8", 0)
    strict.chosen = Choice(beyond="refuse")
    codecs.save(strict.fit(UNIT[:100]), "phase", tmp_path / "refuses.safetensors", {})
    before = set(tmp_path.iterdir())
    assert run_encode(tmp_path, tmp_path / vectors, codec) == 1
    last = last_line(capsys)
    assert last.startswith("error: ")
    assert message in last
    assert set(tmp_path.iterdir()) == before


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("vectors", "output", "named"),
    [
        ("vecs", "vecs", "vecs"),
        ("vecs/shard-00000.parquet", "vecs", "vecs/shard-00000.parquet"),
        ("vecs/*.parquet", "vecs", "vecs/*.parquet"),
        ("v*s/*.parquet", "vecs", "vecs/shard-00000.parquet"),
        ("aside/../vecs", "vecs", "aside/../vecs"),
        ("vecs", "vecs/events", "vecs"),
        ("vecs", "aside/../vecs", "vecs"),
        ("deep/rows.npy", "deep", "deep/rows.npy"),
        ("deep/rows.npy", "deep/rows.npy", "deep/rows.npy"),
        ("vecs", "codec.safetensors", "codec.safetensors"),
    ],
)
def test_inputs_are_not_overwritten(tmp_path, fitted, capsys, vectors, output, named):
    for folder in ("vecs", "deep", "aside"):
        (tmp_path / folder).mkdir()
    pq.write_table(pa.table({"vector": ROWS.tolist()}), tmp_path / "vecs" / "shard-00000.parquet")
    np.save(tmp_path / "deep" / "rows.npy", ROWS)
    before = contents(tmp_path)
    options = ["--codec", str(fitted[1]), "--output", f"{tmp_path}/{output}"]
    assert stage.run(encode.main, ["--vectors", f"{tmp_path}/{vectors}", *options]) == 1
    line = f"error: {tmp_path}/{output}: is, holds or lies in the input {tmp_path}/{named}; give another place"
    assert last_line(capsys) == line
    assert contents(tmp_path) == before


def test_another_kind_of_shards_is_not_overwritten(tmp_path, fitted, rows, capsys):
    (tmp_path / "events").mkdir()
    for number in range(2):
        pq.write_table(pa.table({"text": ["dear"]}), tmp_path / "events" / f"shard-0000{number}.parquet")
    before = contents(tmp_path)
    assert run_encode(tmp_path, rows) == 1
    assert last_line(capsys).startswith(f"error: {tmp_path}/events/shard-00000.parquet: holds no spike events ")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("output", ["codec.safetensors", "events", "events/shard-00000.parquet"])
def test_decoding_overwrites_no_input(tmp_path, fitted, rows, capsys, output):
    assert run_encode(tmp_path, rows) == 0
    before = contents(tmp_path)
    assert run_decode(tmp_path, output=output) == 1
    assert f"{output}: is, holds or lies in the input" in last_line(capsys)
    assert contents(tmp_path) == before


def test_a_floats_own_bits_are_those_of_unit_rows(tmp_path, rows):
    codecs.save(codecs.build("transport", "transport_float32", 0).fit(UNIT), "transport", tmp_path / "t", {})
    assert run_encode(tmp_path, rows, "t") == 0
    assert run_decode(tmp_path, "t") == 0
    assert np.load(tmp_path / "back.npy").tobytes() == UNIT.tobytes()


def test_a_population_of_many_slots_is_encoded_and_decoded_a_vector_at_a_time(tmp_path):
    """Four times the rows, the same memory: less than the spikes of all of them."""
    x = unit_rows(np.random.default_rng(0).standard_normal((40, 12)).astype(np.float32))
    codec = codecs.build("population", "population_2500_100", 0).fit(x)  # 366 KiB a vector
    codecs.save(codec, "population", tmp_path / "codec.safetensors", {})
    peaks = []
    for count in (10, 40):
        np.save(tmp_path / f"{count}.npy", x[:count])
        tracemalloc.start()
        assert run_encode(tmp_path, tmp_path / f"{count}.npy") == 0
        assert run_decode(tmp_path) == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
    np.testing.assert_array_equal(np.load(tmp_path / "back.npy"), codec.decode(codec.encode(x)))


# Of this process alone: ru_maxrss begins with what the process that started it had.
PEAK = """
import re, sys
from pathlib import Path
from pipeline.spikes.encode import main
main(sys.argv[1:])
print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path):
    """Eight times the rows, many shards of both."""
    codec = codecs.build("phase", "phase_8", 0).fit(np.random.default_rng(0).random((100, 100), dtype=np.float32))
    codecs.save(codec, "phase", tmp_path / "codec.safetensors", {})
    peaks = []
    for rows in (40_000, 320_000):
        path = tmp_path / f"{rows}.npy"
        np.save(path, np.random.default_rng(0).standard_normal((rows, 100), dtype=np.float32))
        options = ["--codec", str(tmp_path / "codec.safetensors"), "--output", str(tmp_path / f"{rows}")]
        arguments = ["--vectors", str(path), *options, "--shard-rows", "10000"]
        done = subprocess.run([sys.executable, "-c", PEAK, *arguments], check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.15 * peaks[0]
