"""Work over shards: results, errors, and workers that die."""

import multiprocessing
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline import store
from pipeline.corpus.documents import write_documents
from pipeline.corpus.parallel import in_processes, in_threads
from pipeline.corpus.source import Document
from pipeline.stage import UserError


def test_results_come_from_other_processes() -> None:
    assert sorted(in_processes(operator.add, [(n, n) for n in range(5)], 2, "test")) == [0, 2, 4, 6, 8]
    assert os.getpid() not in set(in_processes(os.getpid, [()] * 3, 2, "test"))
    assert multiprocessing.active_children() == []


def test_user_errors_arrive_as_they_are() -> None:
    with pytest.raises(UserError, match="/no/such: no shard"):
        list(in_processes(store.shards, [("/no/such",)] * 3, 2, "test"))


def test_a_killed_worker_ends_the_run() -> None:
    with pytest.raises(UserError, match="a worker process died"):
        list(in_processes(signal.raise_signal, [(signal.SIGKILL,)] * 3, 2, "test"))


def test_no_workers() -> None:
    with pytest.raises(UserError, match="workers"):
        list(in_processes(operator.add, [(1, 1)], 0, "test"))


def test_threads() -> None:
    assert sorted(in_threads(operator.add, [(n, n) for n in range(5)], 2, "test")) == [0, 2, 4, 6, 8]
    assert set(in_threads(os.getpid, [()] * 3, 2, "test")) == {os.getpid()}
    assert threading.get_ident() not in set(in_threads(threading.get_ident, [()] * 3, 2, "test"))
    with pytest.raises(UserError, match="/no/such: no shard"):
        list(in_threads(store.shards, [("/no/such",)] * 3, 2, "test"))
    with pytest.raises(UserError, match="workers"):
        list(in_threads(operator.add, [(1, 1)], 0, "test"))


# --- kill -9 of a real stage ---------------------------------------------------------------------------------------


def workers_of(pid: int, wanted: int) -> list[int]:
    """The spawned worker processes of a process, as soon as there are `wanted` of them that have begun."""
    for _ in range(200):
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == pid and b"spawn_main" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
        if len(found) >= wanted:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{pid} has no {wanted} workers")


def ended(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture
def long_run(packaged: list[Document], tokenizer_json: Path, tmp_path: Path) -> subprocess.Popen[str]:
    """The stage in a process of its own, with work for a minute."""
    text = "\n".join(document.text for document in packaged)
    write_documents([Document(str(n), text) for n in range(40)], tmp_path / "documents", 1)
    command = [sys.executable, "-m", "pipeline.corpus.vocabulary", "--documents", tmp_path / "documents"]
    command += ["--tokenizer", tokenizer_json, "--workers", "2", "--size", "9", "--output", tmp_path / "made"]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers in /proc")
def test_a_killed_worker_does_not_hang_the_stage(long_run: subprocess.Popen[str], tmp_path: Path) -> None:
    workers = workers_of(long_run.pid, 2)
    os.kill(workers[0], signal.SIGKILL)
    _, errors = long_run.communicate(timeout=30)
    assert long_run.returncode == 1
    assert errors.splitlines()[-1].startswith("error: vocabulary: a worker process died")
    assert "Traceback" not in errors
    assert [entry.name for entry in tmp_path.iterdir()] == ["documents"]
    assert all(map(ended, workers))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers in /proc")
def test_a_killed_stage_leaves_no_workers(long_run: subprocess.Popen[str], tmp_path: Path) -> None:
    workers = workers_of(long_run.pid, 2)
    time.sleep(2)  # until they work
    long_run.kill()
    long_run.wait()
    for _ in range(100):
        if all(map(ended, workers)):
            break
        time.sleep(0.1)
    assert all(map(ended, workers))
    assert not (tmp_path / "made").exists()
