import errno
import os
import random
import resource
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.embeddings import paid
from pipeline.embeddings.paid import Reply
from pipeline.stage import UserError
from pipeline.store import read_json


def reply(rows=3, dims=4, seed=0, tokens=7):
    return Reply(np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32), "m-1", tokens)


@pytest.mark.parametrize("tokens", [7, 0, None])
def test_what_is_written_comes_back_bit_for_bit(tmp_path, tokens):
    written, texts = reply(tokens=tokens), ["a", "ö b", "{}"]
    path = paid.write(tmp_path, texts, written)
    found, back = paid.read(path)
    assert found == texts
    np.testing.assert_array_equal(back.vectors, written.vectors)
    assert back[1:] == ("m-1", tokens)


def test_a_folder_is_of_one_endpoint_model_and_number_of_dimensions():
    asked = [
        ("http://a/v1", "m", None),
        ("http://b/v1", "m", None),
        ("http://a/v1", "n/../x", None),
        ("http://a/v1", "m", 8),
    ]
    folders = [paid.folder("cache", *one) for one in asked]
    assert len(set(folders)) == 4
    assert folders[0] == paid.folder("cache", *asked[0])
    assert all(folder.parent.name == "cache" for folder in folders)
    assert folders[2].name.startswith("n_.._x-")


def test_a_folder_says_what_it_is_and_loses_only_what_was_abandoned(tmp_path):
    old, new = tmp_path / ".reply-a.parquet.1.part", tmp_path / ".reply-b.parquet.1.part"
    for part in (old, new):
        part.touch()
    os.utime(old, (time.time() - 2 * paid.ABANDONED_S,) * 2)
    paid.prepare(tmp_path, "http://a/v1", "m", 8)
    assert read_json(tmp_path / "about.json") == {"base_url": "http://a/v1", "model": "m", "dimensions": 8}
    assert not old.exists()
    assert new.exists()


def test_a_folder_that_cannot_be_written_is_known_before(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        paid.prepare(tmp_path / "file" / "m", "http://a/v1", "m", None)


def test_every_damage_is_found_whichever_byte_it_hits(tmp_path):
    path, written, draw = paid.write(tmp_path, ["a", "b", "c"], reply()), reply(), random.Random(3)
    whole = path.read_bytes()
    found = 0
    for _ in range(300):
        place = draw.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << draw.randrange(8))]) + whole[place + 1 :])
        damaged: list[paid.Damaged] = []
        for _, texts, back in paid.replies(tmp_path, damaged):  # a byte that says nothing about texts and vectors
            assert texts == ["a", "b", "c"]
            np.testing.assert_array_equal(back.vectors, written.vectors)
        found += len(damaged)
    assert found > 150


def test_damaged_files_are_named_skipped_and_set_aside(tmp_path):
    good, other = paid.write(tmp_path, ["a"], reply(1)), paid.write(tmp_path, ["b"], reply(1))
    other.write_bytes(other.read_bytes()[:-20])
    damaged: list[paid.Damaged] = []
    assert [texts for _, texts, _ in paid.replies(tmp_path, damaged)] == [["a"]]
    assert [(path, "not a whole Parquet file" in reason) for path, reason in damaged] == [(other, True)]
    paid.set_aside([*damaged, *damaged])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([good.name, f"{other.name}.damaged"])


def test_a_file_of_another_kind_is_refused_by_name(tmp_path):
    from pipeline.store import EmbeddingTable, write_embedding

    write_embedding(tmp_path / "reply-x.parquet", EmbeddingTable(["a"], np.ones((1, 2), np.float32)))
    with pytest.raises(UserError, match=r"reply-x\.parquet: no column 'text'"):
        paid.read(tmp_path / "reply-x.parquet")


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert list(paid.replies(tmp_path / "none", [])) == []


def test_replies_that_are_known_are_not_read_again(tmp_path):
    first, second = paid.write(tmp_path, ["a"], reply(1)), paid.write(tmp_path, ["b"], reply(1))
    first.write_bytes(b"")
    assert [path for path, _, _ in paid.replies(tmp_path, [], {first})] == [second]


@pytest.mark.parametrize("code", [errno.EISDIR, errno.ELOOP, errno.EMFILE, errno.ENOMEM, errno.EIO])
def test_what_cannot_be_read_is_an_error_and_not_damaged(tmp_path, monkeypatch, code):
    paid.write(tmp_path, ["a"], reply(1))
    path = tmp_path / "reply-z.parquet"
    if code == errno.EISDIR:
        path.mkdir()
    elif code == errno.ELOOP:
        path.symlink_to(path)
    else:
        paid.write(tmp_path, ["b"], reply(1)).rename(path)
    if code == errno.ENOMEM:
        monkeypatch.setattr(pq, "ParquetFile", lambda _: (_ for _ in ()).throw(pa.ArrowMemoryError("malloc failed")))
    if code == errno.EIO:
        path.unlink()
        path.symlink_to("/proc/self/mem")  # whose first page nobody can read
    limits, damaged = resource.getrlimit(resource.RLIMIT_NOFILE), []
    if code == errno.EMFILE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OSError) as error:  # noqa: PT011 - its number is checked
            list(paid.replies(tmp_path, damaged))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert error.value.errno == code
    assert not damaged


def test_a_store_that_is_no_folder_is_not_an_empty_one(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        list(paid.replies(tmp_path / "file", []))


def test_a_lock_is_waited_for_with_a_word_and_ends_with_its_process(tmp_path, caplog):
    hold = "import sys, time; from pathlib import Path; from pipeline.embeddings import paid\n"
    hold += "with paid.locked(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline()
            killer = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -9 {holder.pid}"])
            start = time.monotonic()
            with paid.locked(tmp_path):
                waited_s = time.monotonic() - start
            killer.wait()
        finally:
            holder.kill()
    assert 0.4 < waited_s < 30
    assert f"{tmp_path}: another process is at work ({holder.pid}); waiting until it ends" in caplog.text
    caplog.clear()
    with paid.locked(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    assert not caplog.records
