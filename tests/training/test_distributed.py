"""Processes that really run: one and two see the same batches, make the same steps, and end together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from subjects import alone

from pipeline.training import checkpoint, log

LAUNCH = ["-m", "pipeline.training.launch", "--processes", "2"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]


def python(*arguments, **environment):
    environment = {**os.environ, **environment}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


# The first process stops in the middle of a line, the other dies a moment later.
PROGRESS_AND_DEATH = """
import os, sys, time
if os.environ["RANK"] == "0":
    print("train: 1/9", end="", file=sys.stderr, flush=True)
    time.sleep(600)
time.sleep(1)
sys.exit(3)
"""


def lines(ended):
    """What was said, but for the progress."""
    said = ended.stderr.replace("\r", "\n").splitlines()
    return [line for line in said if line and not line.startswith("train:")]


def stage(folder, **changed):
    """The arguments of a run of the noisy subject; its outputs are folder/out.*"""
    settings = {"steps": 30, "batch": 24, "weights": {"error": 1, "size": 0.1}, "metric": "error", "evaluate_every": 5}
    settings |= {"checkpoint_every": 5, "log_every": 3, **changed}
    told = ["--settings", json.dumps(settings), "--folder", folder / "run", "--output", folder / "out"]
    return ["pipeline.training.run", "--module", "subjects", "--inputs", "none", *told, "--device", "cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Both subjects in one process and in two; what became of the weights, and the folders with the logs."""
    folder = tmp_path_factory.mktemp("trained")
    folders = [folder / "1", folder / "2"]
    one = {name: model.state_dict() for name, model in alone(folders[0]).items()}
    ended = python(*LAUNCH, "subjects", folders[1])
    assert ended.returncode == 0, ended.stderr
    two = {name: np.load(folders[1] / f"{name}.npz") for name in one}
    return one, two, folders


def worst(one, two, name):
    """Largest relative difference: of each weight matrix by its norm, of each value in the log by itself."""
    weights = [np.linalg.norm(two[name][key] - x.numpy()) / np.linalg.norm(x.numpy()) for key, x in one[name].items()]
    return max(weights)


def worst_logged(folders, name, count=5):
    logs = [log.read(folder / name).to_pandas() for folder in folders]
    columns = [column for column in logs[0] if column.startswith("loss") or column == "gradient_norm"]
    assert len(columns) == count
    values = [one[columns].to_numpy()[1:] for one in logs]
    assert np.isfinite(values[0]).all()
    return np.abs(values[1] / values[0] - 1).max()


def test_two_processes_train_the_autoencoder_as_one_does(trained):
    one, two, folders = trained
    assert len(log.read(folders[0] / "autoencoder")) == 101
    assert worst(one, two, "autoencoder") <= 1e-5
    assert worst_logged(folders, "autoencoder") <= 1e-5


def test_two_processes_train_straight_through_bits_as_one_does(trained):
    """The nested embedder: batch terms with gradients, accumulated parts, sizes that are drawn, dropout, in float64."""
    one, two, folders = trained
    assert len(log.read(folders[0] / "embedder")) == 21
    assert next(iter(one["embedder"].values())).dtype == torch.float64
    assert {"shift", "inner", "outer", "biases", "gates"} == set(one["embedder"])
    assert worst(one, two, "embedder") <= 1e-9
    assert worst_logged(folders, "embedder", 7) <= 1e-9


def test_a_process_that_dies_stops_all_and_the_run_goes_on_bit_for_bit(tmp_path):
    died = python(*LAUNCH, *stage(tmp_path / "a"), FAULT="die 13 1")
    assert died.returncode == 1
    assert lines(died) == ["error: process 1 of 2 was killed by signal 9; the others were stopped"]
    kept = checkpoint.read(tmp_path / "a" / "run" / "last.safetensors")
    assert kept.facts["step"] == 10
    assert torch.any(kept.part("random.0")["torch"] != kept.part("random.1")["torch"])
    ended = python(*LAUNCH, *stage(tmp_path / "a"))
    assert ended.returncode == 0, ended.stderr
    assert "goes on after step 10 of 30" in ended.stderr
    whole = python(*LAUNCH, *stage(tmp_path / "b"))
    assert whole.returncode == 0, whole.stderr
    assert_equal(tmp_path / "a", tmp_path / "b")


def assert_equal(first, second):
    """Weights and log of two runs are the same, bit for bit, but for times."""
    weights = [load_file(folder / "out.safetensors") for folder in (first, second)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(x, weights[1][name]) for name, x in weights[0].items())
    logs = [
        log.read_parquet(folder / "out.parquet").drop_columns(["seconds", "samples_per_s"])
        for folder in (first, second)
    ]
    assert logs[0].equals(logs[1])
    steps = logs[0]["step"].to_pylist()
    assert steps == sorted(set(steps))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("refuse 7 1", "error: the sky is down"),
        ("nan 7 1", "error: after step 7: the part 'size' of the loss is nan; the last good checkpoint is {}"),
    ],
)
def test_an_error_in_one_process_or_in_all_is_one_line(tmp_path, fault, said):
    ended = python(*LAUNCH, *stage(tmp_path), FAULT=fault)
    assert ended.returncode == 1
    assert lines(ended) == [said.format(tmp_path / "run" / "last.safetensors")]
    assert checkpoint.read(tmp_path / "run" / "last.safetensors").facts["step"] == 5


def test_those_that_do_not_notice_are_killed(tmp_path):
    (tmp_path / "stuck.py").write_text(PROGRESS_AND_DEATH)
    began = time.monotonic()
    ended = python(*LAUNCH, "stuck", PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
    assert lines(ended) == ["error: process 1 of 2 failed with exit code 3; the others were stopped"]
    assert time.monotonic() - began < 120


def test_bad_input_is_one_line_however_many_processes_read_it(tmp_path):
    ended = python(*LAUNCH, *stage(tmp_path, steps=0))
    assert ended.returncode == 1
    assert lines(ended) == ["error: settings: steps must be a whole number of at least 1, not 0"]


@pytest.mark.slow
def test_a_fault_in_the_code_shows_its_traceback_first(tmp_path):
    ended = python(*LAUNCH, *stage(tmp_path), FAULT="bug 7 1")
    assert ended.returncode == 1
    assert ended.stderr.count("Traceback") == 1
    assert "ZeroDivisionError: a fault in the loss" in ended.stderr
    assert ended.stderr.splitlines()[-1] == "error: process 1 of 2 failed with exit code 1; the others were stopped"


@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them(tmp_path):
    command = [sys.executable, *LAUNCH, *map(str, stage(tmp_path, steps=100000))]
    launcher = subprocess.Popen(command, env={**os.environ, "PAUSE_S": "0.01"}, stderr=subprocess.DEVNULL)
    wait_for_step(tmp_path / "run", 20)
    children = [int(one) for one in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()]
    assert len(children) == 2
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    until = time.monotonic() + 20
    while any(running(child) for child in children):
        assert time.monotonic() < until
        time.sleep(0.05)


def running(process):
    """Whether it is there, and not as a zombie whose parent has not asked for it."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for_step(folder, step):
    until = time.monotonic() + 120
    while not any(int(part.stem.split("-")[1]) >= step for part in (folder / "log").glob("part-*.parquet")):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.slow
def test_torchrun_does_the_same(tmp_path):
    launched, under_torchrun = python(*LAUNCH, *stage(tmp_path / "a")), python(*TORCHRUN, *stage(tmp_path / "b"))
    assert launched.returncode == under_torchrun.returncode == 0, under_torchrun.stderr
    assert_equal(tmp_path / "a", tmp_path / "b")
    died = python(*TORCHRUN, *stage(tmp_path / "c"), FAULT="refuse 7 1")
    assert died.returncode != 0
    errors = [line for line in died.stderr.replace("\r", "\n").splitlines() if line.startswith("error: ")]
    assert errors[0] == "error: the sky is down"


@pytest.mark.slow
def test_three_processes_go_on_bit_for_bit(tmp_path):
    """Sums of three depend on their order, so on where in a message a gradient stands."""
    three = ["-m", "pipeline.training.launch", "--processes", "3"]
    assert python(*three, *stage(tmp_path / "a"), FAULT="die 13 2").returncode == 1
    for folder in ("a", "b"):
        ended = python(*three, *stage(tmp_path / folder))
        assert ended.returncode == 0, ended.stderr
    assert_equal(tmp_path / "a", tmp_path / "b")


@pytest.mark.slow
def test_fewer_processes_go_on_with_a_warning(tmp_path):
    assert python(*LAUNCH, *stage(tmp_path), FAULT="die 13 1").returncode == 1
    ended = python("-m", *stage(tmp_path))
    assert ended.returncode == 0
    assert "1 processes go on for 2: not bit for bit" in ended.stderr
    assert (tmp_path / "out.safetensors").exists()
