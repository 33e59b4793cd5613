"""The code that streams OpenWebText: on local Parquet files of the same layout, and from a hub on loopback."""

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import store
from pipeline.corpus import huggingface
from pipeline.corpus.documents import write_source
from pipeline.corpus.source import Skipped, after, open_source, resumable
from pipeline.stage import UserError

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
spec = importlib.util.spec_from_file_location("hub", Path(__file__).with_name("hub.py"))
assert spec is not None
assert spec.loader is not None
hub = importlib.util.module_from_spec(spec)
sys.modules["hub"] = hub
spec.loader.exec_module(hub)

FILES = 4


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of 10, 11, 12 and 13 documents, in small row groups."""
    folder = tmp_path_factory.mktemp("openwebtext") / "plain_text"
    folder.mkdir()
    for file in range(FILES):
        texts = [f"text {file} {row} " + f"{file * 7919 + row * 104729} " * 60 for row in range(10 + file)]
        pq.write_table(pa.table({"text": texts}), folder / f"train-{file:05d}-of-{FILES:05d}.parquet", row_group_size=4)
    return folder.parent


EXPECTED = [f"text {file} {row}" for file in range(FILES) for row in range(10 + file)]


def begin(text: str) -> str:
    return " ".join(text.split()[:3])


def texts(items: Any) -> list[str]:
    return [begin(item.text) for item in items]


def command(output: Path, options: dict[str, Any], *more: str) -> list[str]:
    stage = [sys.executable, "-m", "pipeline.corpus.documents", "--source", "huggingface", "--shard-bytes", "2000"]
    return [*stage, "--options", json.dumps(options), "--output", str(output), *more]


def written(output: Path) -> list[str]:
    return [begin(text) for shard in store.shards(output) for text in store.read_parquet(shard)["text"].to_pylist()]


def test_folder_and_data_files(shards: Path) -> None:
    by_folder = open_source("huggingface", {"repository": str(shards)})
    by_files = open_source("huggingface", {"repository": "parquet", "data_files": f"{shards}/plain_text/*.parquet"})
    assert texts(by_folder) == EXPECTED
    assert texts(by_files) == EXPECTED
    assert [document.id for document in by_files][9:12] == [
        "parquet/train/0:10",
        "parquet/train/1:1",
        "parquet/train/1:2",
    ]
    assert "train" in by_folder.facts()["source"]


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 7])
def test_parts_are_those_of_split_dataset_by_node(shards: Path, parts: int) -> None:
    from datasets import load_dataset
    from datasets.distributed import split_dataset_by_node

    found = [texts(open_source("huggingface", {"repository": str(shards)}, part, parts)) for part in range(parts)]
    assert sorted(text for part in found for text in part) == sorted(EXPECTED)
    if FILES % parts == 0:
        rows = load_dataset(str(shards), split="train", streaming=True)
        theirs = [[begin(row["text"]) for row in split_dataset_by_node(rows, part, parts)] for part in range(parts)]
        assert found == theirs
    if parts == 7:  # fewer files than parts: every seventh row of each file
        assert found[2] == [text for text in EXPECTED if int(text.split()[2]) % 7 == 2]


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_it_goes_on_behind_any_document(shards: Path, parts: int) -> None:
    source = open_source("huggingface", {"repository": str(shards)}, parts - 1, parts)
    everything = list(source)
    for place in (1, len(everything) // 2, len(everything)):
        assert list(after(source, everything[place - 1].id, place)) == everything[place:]
    with pytest.raises(UserError, match="lee/1: no document of the Hugging Face dataset"):
        after(source, "lee/1", 1)


def test_a_limit_is_shared_out(shards: Path) -> None:
    sources = [open_source("huggingface", {"repository": str(shards), "limit": 7}, part, 2) for part in range(2)]
    assert [len(list(source)) for source in sources] == [4, 3]
    assert resumable(sources[0])
    assert texts(after(sources[0], list(sources[0])[1].id, 2)) == texts(sources[0])[2:]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "test"}, ["test"]),
        ({"text_field": "body"}, ["00000-of-00004", "row 1", "'body'", "'text'"]),
        ({"repository": "/no/such/folder"}, ["/no/such/folder", "cannot be opened"]),
        ({"on_error": "ignore"}, ["on_error", "'ignore'", "fatal, skip"]),
        ({"retries": -1}, ["retries", "-1"]),
    ],
)
def test_bad_input_is_named(shards: Path, options: dict, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        list(open_source("huggingface", {"repository": str(shards), **options}))
    assert all(word in str(error.value) for word in words), error.value


def damaged(shards: Path, folder: Path, how: str) -> Path:
    """A copy of the files in which the second is damaged."""
    folder.mkdir()
    for path in sorted(shards.rglob("*.parquet")):
        data = bytearray(path.read_bytes())
        if "00001-of" in path.name:
            data = data[: len(data) // 2] if how == "cut short" else data
            if how == "a flipped page":
                data[100:300] = bytes(200)
        (folder / path.name).write_bytes(data)
    return folder


@pytest.mark.parametrize("how", ["cut short", "a flipped page"])
def test_a_damaged_file_is_named_and_can_be_skipped(shards: Path, tmp_path: Path, how: str) -> None:
    folder = damaged(shards, tmp_path / "damaged", how)
    with pytest.raises(UserError, match="train-00001-of-00004"):
        list(open_source("huggingface", {"repository": str(folder)}))
    found = list(open_source("huggingface", {"repository": str(folder), "on_error": "skip"}))
    (skipped,) = [item for item in found if isinstance(item, Skipped)]
    assert "train-00001-of-00004" in skipped.where
    others = [text for text in EXPECTED if not text.startswith("text 1 ")]
    assert [text for text in texts(item for item in found if item != skipped) if text in others] == others
    done = subprocess.run(
        command(tmp_path / "out", {"repository": str(folder), "on_error": "skip"}), capture_output=True, text=True
    )
    assert "1 damaged file skipped" in done.stderr
    (reported,) = store.read_json(tmp_path / "out/skipped.json")
    assert reported == skipped._asdict()


def test_openwebtext_is_the_default_and_says_when_it_cannot_be_reached(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command(tmp_path / "o", {}), capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "Skylion007/openwebtext" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture
def server(shards: Path) -> Iterator[Any]:
    with hub.serving(shards) as running:
        yield running


def environment(server: Any) -> dict[str, str]:
    return {**os.environ, "HF_ENDPOINT": server.url}


def test_it_streams_from_the_hub_through_faults_of_the_network(server: Any, tmp_path: Path) -> None:
    server.faults += ["ok", "503", "drop", "ok", "429", "drop"]
    done = subprocess.run(command(tmp_path / "out", {}), capture_output=True, text=True, env=environment(server))
    assert done.returncode == 0, done.stderr
    assert written(tmp_path / "out") == EXPECTED
    assert server.faults == []
    assert len(server.requests) > FILES


def test_a_refusal_of_the_hub_is_not_repeated(server: Any, tmp_path: Path) -> None:
    options = {"repository": "Skylion007/other"}
    begun = time.monotonic()
    done = subprocess.run(command(tmp_path / "out", options), capture_output=True, text=True, env=environment(server))
    assert done.returncode == 1
    assert "Skylion007/other" in done.stderr.splitlines()[-1]
    assert "try 1 of" not in done.stderr
    assert time.monotonic() - begun < 30


def test_waits_double_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(huggingface.time, "sleep", waits.append)
    trials = huggingface._Trials(huggingface.Source(retries=8))
    for _ in range(8):
        trials.failed("file", ConnectionError("gone"))
    with pytest.raises(UserError, match=r"file: 8 tries again did not help \(ConnectionError: gone\)"):
        trials.failed("file", ConnectionError("gone"))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    trials.succeeded()
    trials.failed("file", TimeoutError())
    assert waits[-1] == 1
    with pytest.raises(UserError, match="file: ValueError: no"):
        trials.failed("file", ValueError("no"))


def test_what_the_network_s_faults_are() -> None:
    import httpx2 as httpx

    def status(code: int) -> Exception:
        request = httpx.Request("GET", "http://127.0.0.1")
        return httpx.HTTPStatusError("x", request=request, response=httpx.Response(code, request=request))

    def wrapped(cause: Exception) -> Exception:
        error = RuntimeError("reading failed")
        error.__cause__ = cause
        return error

    yes = [
        ConnectionResetError(),
        TimeoutError(),
        httpx.ReadTimeout("x"),
        status(503),
        status(429),
        wrapped(status(500)),
    ]
    no = [ValueError(), OSError("Corrupt snappy"), FileNotFoundError(), status(404), status(401), wrapped(status(403))]
    assert [huggingface.transient(error) for error in yes] == [True] * len(yes)
    assert [huggingface.transient(error) for error in no] == [False] * len(no)
    assert not huggingface.transient(ConnectionError("Couldn't reach it on the Hub (OfflineModeIsEnabled)"))


def test_killed_runs_end_in_the_undisturbed_corpus(shards: Path, tmp_path: Path) -> None:
    """kill -9 at random moments: whole shards are kept, and the result is the same to the bit."""
    options = {"repository": str(shards), "limit": 40}
    subprocess.run(command(tmp_path / "calm", options), capture_output=True, check=True)
    slow = (  # a tenth of a second a document, so that kills land in the middle
        "import sys, time; from pipeline import stage; from pipeline.corpus import documents;"
        "tidy = documents.tidy_space;"
        "documents.tidy_space = lambda text: (time.sleep(0.1), tidy(text))[1];"
        "sys.exit(stage.run(documents.main))"
    )
    run = [sys.executable, "-c", slow, *command(tmp_path / "killed", options)[3:]]
    state = tmp_path / ".killed.unfinished/progress.json"
    moments, kept = random.Random(1), []
    for _ in range(2):
        before = state.stat().st_mtime_ns if state.exists() else 0
        job = subprocess.Popen(run, stderr=subprocess.PIPE, text=True)
        while job.poll() is None and (not state.exists() or state.stat().st_mtime_ns == before):
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.5))
        job.send_signal(signal.SIGKILL)
        job.wait()
        kept.append(store.read_json(state)["done"]["documents"])
    assert 0 < kept[0] < kept[1] < 40
    done = subprocess.run(command(tmp_path / "killed", options), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "going on behind" in done.stderr
    assert store.digest(tmp_path / "killed") == store.digest(tmp_path / "calm")
    assert not state.parent.exists()


@pytest.mark.parametrize("change", [{"text_field": "other"}, {"on_error": "skip"}, {"repository": "elsewhere"}])
def test_an_unfinished_run_of_something_else_is_not_gone_on_with(shards: Path, tmp_path: Path, change: dict) -> None:
    """The same shard size and facts are not enough: the options and the files have to be the same."""
    folder = tmp_path / "text"
    folder.mkdir()
    for path in sorted(shards.rglob("*.parquet")):
        table = pq.read_table(path)
        pq.write_table(table.append_column("other", table["text"]), folder / path.name)
    options = {"repository": str(folder)}
    source = open_source("huggingface", options)
    items = iter(source)
    begun = [next(items) for _ in range(3)]

    class Stopped:
        """The source, which fails behind three documents."""

        def __iter__(self) -> Iterator[Any]:
            yield from begun
            raise UserError("stopped")

        def after(self, identifier: str) -> Iterator[Any]:
            return iter(())

        files, facts = source.files, source.facts

    with pytest.raises(UserError, match="stopped"):
        write_source(Stopped(), tmp_path / "out", 500, options)
    assert store.read_json(tmp_path / ".out.unfinished/progress.json")["done"]["documents"] == 1
    changed = {**options, **change}
    if "repository" in change:
        (folder / "train-00003-of-00004.parquet").unlink()
        changed = options
    expected = [text for text in EXPECTED if "repository" not in change or not text.startswith("text 3 ")]
    assert write_source(open_source("huggingface", changed), tmp_path / "out", 500, changed) == len(expected)
    assert written(tmp_path / "out") == expected


def test_a_second_process_waits_for_the_first(shards: Path, tmp_path: Path) -> None:
    """A job that outlives its killed workflow: the next one neither mixes nor loses shards."""
    slow = "import time; from pipeline.corpus import documents; tidy = documents.tidy_space;"
    slow += "documents.tidy_space = lambda text: (time.sleep(0.1), tidy(text))[1];"
    slow += "import sys; from pipeline import stage; sys.exit(stage.run(documents.main))"
    arguments = command(tmp_path / "out", {"repository": str(shards)})[3:]
    first = subprocess.Popen([sys.executable, "-c", slow, *arguments], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / ".out.unfinished/progress.json").exists():
        time.sleep(0.02)
    second = subprocess.run([sys.executable, "-c", slow, *arguments], capture_output=True, text=True)
    assert first.wait() == 0
    assert second.returncode == 0, second.stderr
    assert "another process is at work" in second.stderr
    assert written(tmp_path / "out") == EXPECTED


def test_a_shard_that_is_gone_is_noticed(shards: Path, tmp_path: Path) -> None:
    options = {"repository": str(shards)}
    source = open_source("huggingface", options)

    class Robbed:
        def __iter__(self) -> Iterator[Any]:
            for number, item in enumerate(source):
                if number == 20:
                    (tmp_path / ".out.unfinished/shard-00000.parquet").unlink()
                yield item

        after, files, facts = source.after, source.files, source.facts

    with pytest.raises(UserError, match=r"unfinished: \d+ shards of \d+ documents, not \d+ of 46"):
        write_source(Robbed(), tmp_path / "out", 500, options)
    assert not (tmp_path / "out").exists()


def test_an_outage_is_no_damaged_file(server: Any, tmp_path: Path) -> None:
    """`on_error: skip` leaves out what is damaged, never what could not be reached."""
    server.faults += ["ok", "ok"] + ["404"] * 50
    done = subprocess.run(
        command(tmp_path / "out", {"on_error": "skip", "retries": 0}),
        capture_output=True,
        text=True,
        env=environment(server),
    )
    assert done.returncode == 1, done.stderr
    assert not (tmp_path / "out").exists()
    assert "skipped" not in done.stderr
