import shutil

import pytest

from pipeline.stage import UserError
from pipeline.training.log import Log, read


def write(folder, steps, flush_every=3):
    log = Log(folder)
    for step in steps:
        log.add({"step": step, "loss": step / 2, **({"held_out_m": 1.0} if step == 4 else {})})
        if step % flush_every == 0:
            log.flush()
    return log


def steps(folder):
    return read(folder)["step"].to_pylist()


def test_it_can_be_read_while_it_grows(tmp_path):
    log = write(tmp_path, range(8))
    assert steps(tmp_path) == list(range(7))
    log.flush()
    assert steps(tmp_path) == list(range(8))
    table = read(tmp_path)
    assert table["loss"].to_pylist() == [step / 2 for step in range(8)]
    assert table["held_out_m"].to_pylist() == [None] * 4 + [1.0] + [None] * 3


def test_going_on_neither_repeats_nor_loses_a_step(tmp_path):
    write(tmp_path, range(8)).flush()
    log = Log(tmp_path)
    log.resume(3)  # a checkpoint was written after step 3, the rest is made again
    assert steps(tmp_path) == list(range(4))
    for step in range(4, 10):
        log.add({"step": step, "loss": 0.0})
    log.merge()
    assert steps(tmp_path) == list(range(10))
    assert not (tmp_path / "log").exists()


def test_a_merge_that_was_killed_is_finished(tmp_path):
    log = write(tmp_path, range(8))
    log.flush()
    parts = sorted((tmp_path / "log").iterdir())
    shutil.copytree(tmp_path / "log", tmp_path / "kept")
    log.merge()
    shutil.copytree(tmp_path / "kept", tmp_path / "log")
    parts[0].unlink()  # killed while it removed the parts
    assert steps(tmp_path) == list(range(8))
    Log(tmp_path).merge()
    assert steps(tmp_path) == list(range(8))
    assert not (tmp_path / "log").exists()


def test_no_log_is_named(tmp_path):
    with pytest.raises(UserError, match=r"log\.parquet: no such file"):
        read(tmp_path)
