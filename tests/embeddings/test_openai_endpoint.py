"""Against embedding_server.py, a real HTTP server in a process of its own, through the real client."""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline import stage
from pipeline.embeddings import backoff, openai_endpoint, paid, sentence, table
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError
from pipeline.store import digest, read_embedding, write_parquet

KEY = "sk-test-do-not-show-0123456789"
SERVER = Path(__file__).with_name("embedding_server.py")
DIMS = 16


class Running:
    """A server process, seen from outside."""

    def __init__(self, process):
        self._process = process

    @cached_property
    def base_url(self):
        """Where it listens, as soon as it does."""
        return self._process.stdout.readline().strip()

    def _url(self, path):
        return self.base_url.removesuffix("/v1") + path

    def _send(self, path, value):
        request = urllib.request.Request(self._url(path), json.dumps(value).encode())
        urllib.request.urlopen(request, timeout=30).close()

    def reset(self, **how):
        self._send("/reset", how)

    def spoil(self, *faults):
        """The next requests meet these faults, one each; {} is none."""
        self._send("/faults", faults)

    def counts(self):
        with urllib.request.urlopen(self._url("/counts"), timeout=30) as reply:
            return json.load(reply)


@contextmanager
def served(*arguments):
    with subprocess.Popen([sys.executable, str(SERVER), *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Running(process)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def process():
    with served("--dims", str(DIMS), "--key", KEY) as running:
        yield running


@pytest.fixture
def server(process):
    process.reset()
    return process


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(backoff, "FIRST_S", 0.01)


@pytest.fixture
def read(server, tmp_path):
    def reader(words, **options):
        words = words.split() if isinstance(words, str) else words
        given = {"model": "m", "base_url": server.base_url, "cache": str(tmp_path / "paid"), **options}
        return openai_endpoint.read(Vocabulary(words), given)

    return reader


def words(count):
    return [f"word-{number}" for number in range(count)]


def fail(status, **more):
    return {"kind": "status", "status": status, **more}


def vocabulary(path, names):
    write_parquet(path, pa.table({"word": names, "always": [False] * len(names)}))
    return str(path)


# --- what it gives -------------------------------------------------------------------------------------------------


def test_minilm_through_the_endpoint_is_the_table_of_the_source_minilm(tmp_path):
    names = ["tiger", "cat", "incomprehensibility", "a", "of", "Antananarivo", "queen", "café", "cafe", "naïve"]
    with served("--vectors", "minilm") as server:
        alone = sentence.read(Vocabulary(names), {}, "cpu")  # while the server loads its own
        options = {"model": "all-MiniLM-L6-v2", "base_url": server.base_url, "cache": str(tmp_path), "batch": 8}
        through = openai_endpoint.read(Vocabulary(names), options)
    rows = through.rows()
    np.testing.assert_allclose(through.vectors[[rows[word] for word in alone.words]], alone.vectors, rtol=0, atol=1e-6)
    assert through.words == names
    np.testing.assert_allclose(through.vectors[7], through.vectors[8], atol=1e-6)  # equal vectors are kept


def test_lists_and_base64_give_the_same_bits_in_any_order(read, server, tmp_path):
    base64 = read(words(9), batch=4, cache=str(tmp_path / "1"))
    server.spoil({"kind": "float"}, {"kind": "reversed"}, {"kind": "float"})
    lists = read(words(9), batch=4, concurrency=1, cache=str(tmp_path / "2"))
    np.testing.assert_array_equal(base64.vectors, lists.vectors)
    assert base64.words == words(9)
    assert base64.vectors.shape == (9, DIMS)
    assert {asked["encoding_format"] for asked in server.counts()["asked"]} == {"base64"}


def test_facts(read):
    facts = read("cat dog", licence="CC0-1.0", price=2).facts
    assert facts["source"] == "openai"
    assert facts["model"] == facts["model_served"] == "m"
    assert facts["template"] == "{word}"
    assert facts["licence"] == "CC0-1.0"
    assert (facts["inputs"], facts["tokens"], facts["cost_usd"]) == ("2", "6", "0.00001200")
    assert "openai" in json.loads(facts["versions"])


def test_no_count_of_tokens_is_made_up_for_a_server_that_gives_none(read, server):
    server.spoil({"kind": "no_usage"})
    facts = read("cat dog", price=2).facts
    assert "tokens" not in facts
    assert "cost_usd" not in facts


def test_a_word_that_stands_twice_is_refused_before_anything_is_sent(read, server):
    with pytest.raises(UserError, match="the vocabulary holds a word twice"):
        read(["a", "b", "a"])
    assert server.counts()["requests"] == 0


def test_equal_vectors_of_different_words_are_kept(read, server):
    server.spoil({"kind": "equal"})
    assert read("a b c").words == ["a", "b", "c"]


def test_the_text_in_its_template_is_what_is_sent_and_the_key_of_the_store(read, server):
    templated = read("cat dog", template="the word {word}")
    assert templated.facts["template"] == "the word {word}"
    plain = read(["the word dog", "the word cat"])
    np.testing.assert_array_equal(templated.vectors, plain.vectors[::-1])
    assert not np.array_equal(read("cat").vectors[0], templated.vectors[0])
    assert server.counts()["inputs"] == 3


# --- requests ------------------------------------------------------------------------------------------------------


def test_requests_stay_within_inputs_tokens_and_concurrency(read, server):
    server.reset(delay_s=0.1)
    read(words(40), batch=12, concurrency=3)
    counts = server.counts()
    assert [asked["inputs"] for asked in counts["asked"]] == [4] * 10
    assert counts["most_under_way"] == 3
    assert counts["most_inputs_under_way"] == 12
    read([f"other-{number:02d}" for number in range(10)], max_request_tokens=24, max_input_tokens=8, concurrency=1)
    assert [asked["bytes"] for asked in server.counts()["asked"][10:]] == [24, 24, 24, 8]


def test_dimensions_are_sent_only_when_given_and_never_for_ada(read, server):
    read("cat")
    assert read("cat", dimensions=8).vectors.shape == (1, 8)
    server_asked = [asked.get("dimensions") for asked in server.counts()["asked"]]
    server.reset(dims=1536)
    read("cat", model="text-embedding-ada-002", dimensions=1536)
    assert server_asked == [None, 8]
    assert "dimensions" not in server.counts()["asked"][0]


def test_without_a_key_another_endpoint_gets_a_placeholder(read, server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match=r"a key is needed, and OPENAI_API_KEY is not set \(401\)"):
        read("cat")
    assert server.counts()["keys"] == ["Bearer none"]


# --- failures that pass --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        fail(408),
        fail(409),
        fail(429),
        fail(500),
        fail(503, headers={"Retry-After": "0"}),
        {"kind": "drop"},
        {"kind": "short"},
        {"kind": "index"},
        {"kind": "dims"},
        {"kind": "error", "message": "loading"},
        {"kind": "text"},
        {"kind": "text", "type": "application/json"},
        {"kind": "value", "row": 1, "value": float("nan")},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('status', fault.get('type', ''))}",
)
def test_what_may_pass_is_tried_again(read, server, caplog, fault):
    server.spoil(fault)
    found = read("cat dog tiger", dimensions=DIMS)
    assert server.counts()["requests"] == 2
    assert "attempt 1 of 8" in caplog.text
    np.testing.assert_array_equal(found.vectors, read("cat dog tiger").vectors)


def test_a_stall_is_given_up_after_timeout_s(read, server):
    server.spoil({"kind": "stall", "seconds": 3})
    start = time.monotonic()
    read("cat", timeout_s=0.3)
    assert time.monotonic() - start < 2.5
    assert server.counts()["requests"] == 2


def test_a_reply_that_comes_in_drops_is_given_up_too(read, server, caplog):
    server.spoil({"slow_s": 5})
    start = time.monotonic()
    read("cat", timeout_s=0.8)
    assert time.monotonic() - start < 3
    assert server.counts()["requests"] == 2
    assert "no whole reply within 0.8 s" in caplog.text


def test_an_error_in_a_reply_is_told_in_the_servers_words_without_a_key(read, server, caplog):
    server.spoil({"kind": "error", "message": f"no model\nis loaded for {KEY} or sk-other-1"})
    read("cat")
    assert "the server says: no model is loaded for *** or sk-***; the next" in caplog.text


def test_a_rate_limit_holds_all_workers_as_long_as_it_says(read, server):
    server.reset(delay_s=0.1)
    server.spoil({}, {}, fail(429, headers={"Retry-After": "1"}))
    read(words(30), batch=3, concurrency=3)
    arrivals = server.counts()["arrivals_s"]
    assert len(arrivals) == 31
    assert max(np.diff(arrivals)) > 0.85


def test_attempts_in_a_row_are_counted_and_the_last_failure_is_told(read, server):
    server.spoil(fail(500), fail(500), {}, fail(500), fail(500), fail(503, message="too busy"))
    with pytest.raises(UserError, match="3 attempts of a request failed in a row, the last: 503 too busy"):
        read("cat dog", batch=1, retries=3)
    assert server.counts()["requests"] == 6


def test_a_server_that_is_not_there_is_named_in_one_line(read):
    with pytest.raises(UserError, match=r"2 attempts .* connection failed \(ConnectError") as error:
        read("cat", base_url="http://127.0.0.1:9/v1", retries=2)
    assert "\n" not in str(error.value)


def test_a_wait_that_is_too_long_ends_the_run(read, server):
    server.spoil(fail(429, headers={"Retry-After": "86400"}))
    with pytest.raises(UserError, match="asks to wait 86400 s"):
        read("cat")


# --- failures that stay --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (fail(400, message="too long"), r"refused the request \(400\): too long"),
        (fail(401, message="{authorization}"), r"the key of OPENAI_API_KEY was refused \(401\)$"),
        (fail(403, message="region"), r"\(403\): region"),
        (fail(404, message="gone"), r"no model 'm' at http://.* \(404\): gone"),
        (fail(422, message="no"), r"\(422\): no"),
        (fail(429, code="insufficient_quota", message="pay"), r"the quota is used up \(429 insufficient_quota\): pay"),
        (fail(400, message="a {authorization}\nsk-other-0123 b"), r"\(400\): a Bearer \*\*\* sk-\*\*\* b$"),
    ],
    ids=lambda value: str(value.get("status")) if isinstance(value, dict) else "",
)
def test_a_refusal_is_one_line_at_once_without_the_key(read, server, fault, said):
    server.spoil(fault)
    with pytest.raises(UserError, match=said) as error:
        read("cat")
    assert server.counts()["requests"] == 1
    assert KEY not in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.__context__ is None  # else a traceback shows the client's exception, and its texts


@pytest.mark.parametrize(
    ("value", "said"), [(float("nan"), "NaN or infinity"), (float("inf"), "NaN or infinity"), (0.0, "a zero vector")]
)
def test_a_vector_without_direction_is_named_and_the_others_are_kept(read, server, value, said):
    server.spoil({"kind": "value", "row": 1, "value": value}, {"kind": "value", "row": 0, "value": value})
    with pytest.raises(UserError, match=f"gives {said} for the word 'dog', twice"):
        read("cat dog tiger", template="a {word}")
    assert server.counts()["requests"] == 2
    read("cat dog tiger", template="a {word}")
    assert server.counts()["inputs"] == 3 + 1 + 1


def test_only_what_cannot_be_used_is_asked_for_again(read, server):
    server.spoil({"kind": "value", "row": 1, "value": 0.0})
    found = read("cat dog tiger")
    assert [asked["inputs"] for asked in server.counts()["asked"]] == [3, 1]
    np.testing.assert_array_equal(found.vectors, read("cat dog tiger").vectors)
    assert found.words == ["cat", "dog", "tiger"]
    assert server.counts()["requests"] == 2


def test_a_failure_ends_the_others_requests_first_and_keeps_their_replies(read, server):
    server.reset(delay_s=0.2)
    server.spoil(fail(400))
    with pytest.raises(UserError, match="400"):
        read(words(50), batch=4)
    inputs = server.counts()["inputs"]
    assert 1 <= inputs <= 10
    read(words(50))
    assert server.counts()["inputs"] == 50


def test_a_changed_number_of_dimensions_is_an_error_between_replies_and_against_the_store(read, server, tmp_path):
    said = f"the reply's vectors have {DIMS - 1} values, not the {DIMS} of {tmp_path}/paid/.*/reply-.*parquet, twice"
    for first in ([{}], []):
        server.spoil(*first, {"kind": "dims"}, {"kind": "dims"})
        before = server.counts()["requests"]
        with pytest.raises(UserError, match=said) as error:
            read("cat dog pig", batch=1)
        assert server.counts()["requests"] == before + len(first) + 2
        assert Path(str(error.value).split(" of ")[1].split(", twice")[0]).exists()


@pytest.mark.parametrize("known", [{}, {"dimensions": DIMS + 4}])
def test_no_more_is_bought_when_all_of_it_would_be_of_another_length(read, server, tmp_path, known):
    server.reset(delay_s=0.1)
    folder = paid.folder(tmp_path / "paid", server.base_url, "m", None)
    path = paid.write(folder, ["cat"], paid.Reply(np.ones((1, DIMS + 4), np.float32), "m", 3))
    said_by = "option dimensions" if known else path
    with pytest.raises(UserError, match=f"have {DIMS} values, not the {DIMS + 4} of {said_by}, twice"):
        read(words(50), batch=8, concurrency=4, **known)
    assert server.counts()["requests"] == 4 + 1  # what was under way, and one attempt more
    assert len(list((tmp_path / "paid").rglob("reply-*"))) == 1


def test_one_reply_of_another_length_ends_nothing(read, server):
    server.reset(delay_s=0.02)
    server.spoil({}, {}, {}, {}, {"kind": "dims"}, {}, {"kind": "dims"})
    assert read(words(60), batch=8, concurrency=4).vectors.shape == (60, DIMS)
    assert server.counts()["inputs"] == 60 + 2 + 2


def test_stored_vectors_of_other_dimensions_are_named(read, server, tmp_path):
    folder = paid.folder(tmp_path / "paid", server.base_url, "m", 8)
    path = paid.write(folder, ["cat"], paid.Reply(np.ones((1, 4), np.float32), "m", 3))
    with pytest.raises(UserError, match=f"{path}: vectors of 4 values, not the 8 of option dimensions"):
        read("cat", dimensions=8)


# --- money ---------------------------------------------------------------------------------------------------------


def test_the_estimate_is_logged_and_can_stop_the_run_before_the_first_request(read, server, caplog):
    caplog.set_level("INFO", "pipeline")
    read("cat")
    with pytest.raises(UserError, match=r"max_cost 1\.1e-05 \(of one run\) could be exceeded: .*nothing was sent"):
        read("cat dog tiger mouse", price=1, max_cost=11e-6)  # dog, tiger, mouse: 13
    assert server.counts()["inputs"] == 1
    read("cat dog tiger mouse", price=1, max_cost=13e-6)
    assert (
        "m: 4 inputs, 1 cached, 3 to be paid, at most 13 tokens, at most US$ 0.000013 (US$ 1 a million)" in caplog.text
    )


def test_the_servers_own_count_stops_the_run_and_what_is_paid_is_kept(read, server):
    server.spoil({"usage": 4})
    with pytest.raises(UserError, match=r"\(of one run\): US\$ 0\.000024 are spent .* by the server's count"):
        read("cat dog cow pig ape hen", price=1, max_cost=20e-6, batch=2, concurrency=1)
    assert server.counts()["inputs"] == 2
    read("cat dog cow pig ape hen", price=1, max_cost=20e-6)
    assert server.counts()["inputs"] == 6


@pytest.mark.parametrize(
    "fault",
    [{"kind": "drop"}, {"kind": "stall", "seconds": 0.8}, {"slow_s": 3}, {"kind": "short"}, {"kind": "text"}],
    ids=lambda fault: next(iter(fault.values())),
)
def test_failed_attempts_that_may_have_been_charged_count(read, server, fault):
    server.spoil(*[fault] * 4)
    with pytest.raises(UserError, match=r"max_cost 2.5e-05 \(of one run\): US\$ 0\.000018 are spent .* is kept"):
        read("cat dog pig", price=1, max_cost=25e-6, timeout_s=0.4)
    assert server.counts()["requests"] == 2


def test_refusals_and_what_never_arrived_cost_nothing(read, server):
    server.spoil(fail(429), fail(500), fail(503), fail(408))
    read("cat dog", price=1, max_cost=6e-6)
    assert server.counts()["requests"] == 5
    with pytest.raises(UserError, match="3 attempts of a request failed in a row, the last: connection failed"):
        read("cat dog", base_url="http://127.0.0.1:9/v1", retries=3, price=1, max_cost=6e-6)


def test_an_input_above_the_limit_is_named_before_anything_is_sent(read, server):
    with pytest.raises(
        UserError, match="max_input_tokens 8: the word 'crocodile' has up to 9 tokens by its UTF-8 bytes"
    ):
        read("cat crocodile", max_input_tokens=8)
    with pytest.raises(UserError, match="max_request_tokens 5: the word 'crocodile'"):
        read("cat crocodile", max_request_tokens=5)
    assert server.counts()["requests"] == 0
    exact = str(sentence.packaged_model() / "tokenizer.json")
    read("cat crocodile", max_input_tokens=8, tokenizer=exact)


def test_a_dry_run_tells_and_sends_and_writes_nothing(read, server, tmp_path, capsys):
    read("cat")
    damaged = next((tmp_path / "paid").rglob("reply-*"))
    damaged.write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    options = {"model": "m", "base_url": server.base_url, "cache": str(tmp_path / "paid"), "price": 1}
    argv = ["--name", "x", "--source", "openai", "--options", json.dumps(options)]
    names = vocabulary(tmp_path / "v.parquet", ["cat", "dog"])
    assert stage.run(table.main, [*argv, "--vocabulary", names, "--dry-run"]) == 0
    expected = "x: m: 2 inputs, 0 cached, 2 to be paid, at most 6 tokens, at most US$ 0.000006 (US$ 1 a million)\n"
    assert capsys.readouterr().out == expected
    assert sorted(tmp_path.rglob("*")) == sorted([*before, Path(names)])
    assert server.counts()["requests"] == 1


# --- nothing is paid for twice -------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [KEY, "sk-another-0123456789"])
@pytest.mark.parametrize("more", [["--dry-run"], ["--output", "x.parquet"]])
def test_a_key_in_an_option_is_neither_logged_nor_printed(tmp_path, server, capfd, caplog, monkeypatch, held, more):
    monkeypatch.chdir(tmp_path)
    caplog.set_level("DEBUG")
    names = vocabulary(tmp_path / "v.parquet", ["cat"])
    for name in ("model", "cache", "licence", "template", "tokenizer", "base_url", "max_cost", held):
        options = json.dumps({"model": "m", "base_url": server.base_url, name: held})
        argv = ["--name", "x", "--source", "openai", "--options", options, "--vocabulary", names, *more]
        assert stage.run(table.main, argv) == 1
        with pytest.raises(UserError) as error:
            openai_endpoint.check(json.loads(options))
        assert held not in str(error.value)
    said = capfd.readouterr()
    assert "take it out, and make a new key" in said.err
    assert held not in said.err + said.out + caplog.text
    assert server.counts()["requests"] == 0


def test_another_table_pays_only_for_what_is_new(read, server):
    read(words(10))
    read(words(12)[::-1])
    assert server.counts()["inputs"] == 12


def test_with_nothing_left_to_pay_no_key_and_no_client_are_needed(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    base_url = "https://api.openai.com/v1"
    vectors = np.eye(2, 8, dtype=np.float32)
    paid.write(paid.folder(tmp_path, base_url, "m", None), ["a", "b"], paid.Reply(vectors, "m", 2))
    options = {"model": "m", "cache": str(tmp_path)}
    np.testing.assert_array_equal(openai_endpoint.read(Vocabulary(["b", "a"]), options).vectors, vectors[::-1])
    with pytest.raises(UserError, match="OPENAI_API_KEY is not set"):
        openai_endpoint.read(Vocabulary(["b", "c"]), options)


def test_only_the_texts_of_a_damaged_file_are_paid_for_again(read, server, tmp_path, caplog):
    whole = read(words(12), batch=4, concurrency=1)
    path = sorted((tmp_path / "paid").rglob("reply-*.parquet"))[1]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\0" + content[len(content) // 2 + 1 :])
    again = read(words(12))
    assert f"{path}: damaged" in caplog.text
    np.testing.assert_array_equal(again.vectors, whole.vectors)
    assert server.counts()["inputs"] == 16
    assert path.with_name(f"{path.name}.damaged").exists()
    caplog.clear()
    read(words(12))
    assert not caplog.records
    assert server.counts()["inputs"] == 16


def test_a_file_that_cannot_be_read_ends_the_run_and_is_not_paid_for_again(read, server, tmp_path):
    read("cat dog")
    path = next((tmp_path / "paid").rglob("reply-*.parquet"))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(path)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        read("cat dog")
    assert path.is_symlink()
    assert server.counts()["inputs"] == 2


def test_a_store_that_cannot_be_written_is_found_out_before_anything_is_paid(read, server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        read("cat", cache=str(tmp_path / "file"))
    assert server.counts()["requests"] == 0


def test_the_loggers_of_client_and_transport_are_silent_and_get_their_levels_back(read, caplog):
    caplog.set_level("DEBUG")
    for name in ("openai", "httpx2", "httpcore2", "httpcore2.http11"):
        caplog.set_level("DEBUG", name)
    read("cat")
    assert {record.name for record in caplog.records} == {"pipeline"}
    assert logging.getLogger("httpcore2.http11").level == logging.DEBUG


class Runs:
    """The stage as a process of its own, everything logged; all that it prints is gathered in `printed`."""

    def __init__(self, server, folder, count):
        self.folder, self.printed = folder, folder / "printed.txt"
        self._options = {"model": "m", "base_url": server.base_url, "batch": 40, "price": 1, "max_cost": 1}
        self._vocabulary = vocabulary(folder / "vocabulary.parquet", words(count))

    def start(self, cache, output):
        options = json.dumps({**self._options, "cache": str(self.folder / cache)})
        argv = ["--name", "x", "--source", "openai", "--options", options, "--vocabulary", self._vocabulary]
        command = [sys.executable, "-m", "pipeline.embeddings.table", *argv, "--output", str(self.folder / output)]
        environment = {**os.environ, "OPENAI_API_KEY": KEY, "PIPELINE_LOG_LEVEL": "DEBUG", "OPENAI_LOG": "debug"}
        with open(self.printed, "ab") as printed:
            return subprocess.Popen(command, stdout=printed, stderr=printed, env=environment)

    def assert_no_key(self):
        written = [path for path in self.folder.rglob("*") if path.is_file()]
        assert len(written) > 20
        assert not [path for path in written if KEY.encode() in path.read_bytes()]


def test_five_kills_lose_at_most_a_batch_each_and_leave_no_trace_in_the_table(server, tmp_path):
    count, batch, kills, draw = 1000, 40, 5, random.Random(20)
    runs = Runs(server, tmp_path, count)
    server.reset(delay_s=0.1)
    assert runs.start("calm", "calm.parquet").wait() == 0
    assert server.counts()["inputs"] == count
    server.reset(delay_s=0.1)
    hit = 0
    for _ in range(kills):
        process = runs.start("killed", "killed.parquet")
        wanted = server.counts()["requests"] + draw.randint(1, 12)
        while process.poll() is None and server.counts()["requests"] < wanted:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.12))
        hit += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert runs.start("killed", "killed.parquet").wait() == 0
    inputs = server.counts()["inputs"]
    print(f"{hit} of {kills} kills in mid-run; {inputs} inputs embedded for {count} texts")
    assert hit >= 3
    assert count < inputs <= count + kills * batch
    assert digest(tmp_path / "killed.parquet") == digest(tmp_path / "calm.parquet")
    runs.assert_no_key()


def test_two_processes_share_a_store_and_pay_for_each_text_once(server, tmp_path):
    runs = Runs(server, tmp_path, 400)
    server.reset(delay_s=0.3)
    both = [runs.start("shared", f"{number}.parquet") for number in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert server.counts()["inputs"] == 400
    assert "waiting until it ends" in runs.printed.read_text()
    tables = [read_embedding(tmp_path / f"{number}.parquet") for number in range(2)]
    np.testing.assert_array_equal(tables[0].vectors, tables[1].vectors)
    before = server.counts()["requests"]
    assert runs.start("shared", "2.parquet").wait() == 0
    np.testing.assert_array_equal(read_embedding(tmp_path / "2.parquet").vectors, tables[0].vectors)
    assert server.counts()["requests"] == before
    assert "damaged" not in runs.printed.read_text()
    runs.assert_no_key()
