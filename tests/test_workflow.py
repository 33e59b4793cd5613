"""The real workflow on a tiny configuration: a copy of the tree runs as a user would run it."""

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parent.parent
TIMING = {"encode_vectors_per_s", "decode_vectors_per_s", "queries_per_s"}
SMALL = {  # over config/test.yaml: the two runs that are killed and started again
    "tables": ["spacy_md"],
    "representations": {
        **{"faiss_peers": [], "sentence_transformers_peers": [], "scalar": []},
        **{"linear_decoder": [], "ternary": [], "lossless": [], "sigma_delta": []},
    },
}


def copy_tree(target: Path) -> Path:
    """The files of the workflow, so that a test may edit them."""
    target.mkdir(parents=True)
    for name in ("Snakefile", "config", "profiles", "pipeline", "workflow", "performance"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", "user.yaml"))
        else:
            shutil.copy(source, target / name)
    return target


def command(*arguments: str, configfiles: Sequence[str] = ("config/test.yaml",)) -> list[str]:
    # `python -m` puts the folder itself first on the path: the copy's `pipeline` is what runs, here and in the jobs.
    return [sys.executable, "-m", "snakemake", *arguments, "--configfile", *configfiles]


def snakemake(tree: Path, *arguments: str, **how: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments, **how), cwd=tree, capture_output=True, text=True, timeout=600)


def planned(output: str) -> tuple[dict[str, int], set[str]]:
    """What a dry run would do: jobs by rule (its table of job counts), and the codec modules that its messages name."""
    counts = re.findall(r"^(\w+) +(\d+)$", output.partition("Job stats:")[2].partition("\ntotal ")[0], re.MULTILINE)
    return {rule: int(count) for rule, count in counts}, set(re.findall(r"(?:Fit|Measure) (\w+) on", output))


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k not in TIMING} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the tree in which everything has been run once."""
    folder = copy_tree(tmp_path_factory.mktemp("workflow") / "tree with a space")
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_the_table_holds_every_representation_of_every_embedding(tree: Path) -> None:
    table = rows(tree / "results/benchmarks.csv")
    assert {row["embedding"] for row in table} == {"spacy_md", "minilm", "spacy_md+minilm"}
    for embedding in ("spacy_md", "minilm", "spacy_md+minilm"):
        names = {row["representation"] for row in table if row["embedding"] == embedding}
        assert {"float32", "truncate_128", "int8", "sign", "sign_centered", "faiss:SQ4"} < names
        assert len(names) == 17
    reference = {row["embedding"]: row for row in table if row["representation"] == "float32"}
    assert {row["dims"] for row in reference.values()} == {"300", "384", "684"}
    for row in reference.values():
        assert (row["knn10_overlap"], row["exact_values"], row["relative_mse"]) == ("1", "1", "0")
        assert row["seeds"] == "2"


def test_word_tasks_have_values_and_coverage(tree: Path) -> None:
    long = pq.read_table(tree / "results/benchmarks.parquet").to_pylist()
    sets = (
        *(("wordsim353", 353, 330), ("simlex999", 999, 950)),
        *(("analogy_semantic", 8869, 4000), ("analogy_syntactic", 10675, 7500)),  # 9,500 together are aimed at
    )
    for metric, total, least in sets:
        found = [row for row in long if row["metric"] == metric and row["search"] == "decoded"]
        assert found
        assert {row["total"] for row in found} == {total}
        assert all(least <= row["covered"] <= total for row in found)
        assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in found)


def test_figures_tokens_and_logs_are_there(tree: Path) -> None:
    figures = sorted(path.name for path in (tree / "results/figures").glob("*.png"))
    assert figures == [
        "analogy_by_bytes.png",
        "datasets.png",
        "distortion_by_bytes.png",
        "recall_by_bytes.png",
        "recall_unseen_by_bytes.png",
        "sigma_delta_slopes.png",
        "stream_by_tokens.png",
    ]
    assert all((tree / "results/figures" / name).stat().st_size > 10_000 for name in figures)
    assert list((tree / "data/corpus/tokens").glob("shard-*.parquet"))
    assert (tree / "logs/fit/minilm/binary.log").exists()
    assert (tree / "results/timing/fit/minilm/binary.tsv").exists()


def test_a_second_run_does_nothing(tree: Path) -> None:
    again = snakemake(tree)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_an_edit_reruns_what_depends_on_it_and_nothing_else(tree: Path) -> None:
    module = tree / "pipeline/codecs/binary.py"
    before = module.read_text()
    module.write_text(before + "\n# edited\n")
    try:
        counts, modules = planned(snakemake(tree, "-n").stdout)
    finally:
        module.write_text(before)
    assert counts == {
        **{"fit": 3, "measure": 3, "table": 1, "figures": 1, "ledger": 1, "compression_figures": 1, "all": 1}
    }  # three tables
    assert modules == {"binary"}


def test_one_stage_can_be_forced(tree: Path) -> None:
    counts, _ = planned(snakemake(tree, "-n", "-R", "vocabulary").stdout)
    assert counts["vocabulary"] == 1
    assert counts["embedding"] == 2
    assert not counts.keys() & {"benchmark_sets", "documents", "tokenizer", "tokens"}


def test_the_report_is_written(tree: Path) -> None:
    done = snakemake(tree, "--report", "results/workflow.html")
    assert done.returncode == 0, done.stderr[-2000:]
    page = (tree / "results/workflow.html").read_text()
    assert "recall_by_bytes" in page
    assert "benchmarks.csv" in page


def test_the_same_seeds_give_the_same_table(tree: Path) -> None:
    before = rows(tree / "results/benchmarks.csv")
    again = [f"results/codecs/spacy_md/{module}" for module in ("faiss_peers", "scalar", "sentence_transformers_peers")]
    done = snakemake(tree, "-R", *again)
    assert done.returncode == 0, done.stderr[-2000:]
    assert rows(tree / "results/benchmarks.csv") == before


def test_the_peers_grid_has_a_table_of_its_own(tree: Path) -> None:
    done = snakemake(tree, "results/peers.csv")
    assert done.returncode == 0, done.stderr[-2000:]
    table = rows(tree / "results/peers.csv")
    assert {row["representation"] for row in table} == {"faiss:PCA64,PQ8x4np"}
    assert list(table[0]) == list(rows(tree / "results/benchmarks.csv")[0])
    assert "Nothing to be done" in snakemake(tree).stderr  # the main job does not depend on it


def test_a_mistyped_key_is_named(tree: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("vocabulary: {sise: 10}\n")
    done = snakemake(tree, "-n", configfiles=[str(wrong)])
    assert done.returncode != 0
    assert done.stderr.splitlines()[1:] == [  # the first line is Snakemake's, about its profile
        "error: config: vocabulary: unknown key 'sise'; did you mean 'size'?"
    ]


def test_a_user_configuration_is_laid_over_the_shipped_one(tree: Path) -> None:
    own = tree / "config/user.yaml"
    for text, message in {
        "# nothing\n": None,
        "device: tpu\n": "error: config: device: 'tpu' is not one of auto, cpu, cuda",
        "device: {cpu\n": "error: config/user.yaml: line 2, column 1: expected ',' or '}', but got '<stream end>'",
        "embeddings: {ada: {source: spacy_md}}\n": "error: embedding name 'ada' is reserved for source 'openai'",
        "evaluation: {similarity: {cosine: a}}\n": "error: config: evaluation.similarity.cosine: that is another",
        "evaluation: {similarity: {men: packaged}}\n": "error: config: evaluation.similarity.men: no packaged set",
    }.items():
        own.write_text(text)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "snakemake", "-n"], cwd=tree, capture_output=True, text=True, timeout=120
            )
        finally:
            own.unlink()
        assert (done.returncode == 0) == (message is None), done.stderr
        if message is not None:
            line = done.stderr.splitlines()[1:]  # the first line is Snakemake's, about its profile
            assert len(line) == 1, line
            assert line[0].startswith(message)


def test_two_runs_in_one_folder_are_refused(tree: Path) -> None:
    import fcntl

    with open(tree / ".snakemake/run.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = snakemake(tree, "-R", "table")
    assert done.returncode != 0
    assert "another run is at work" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "embeddings: {mine: {source: npy, options: {path: no.npy}, vocabulary: all}}",
            "embeddings.mine.options: no.npy: no such file",
        ),
        (
            "embeddings: {mine: {source: openai, options: {model: m, api_key: sk-1}}}",
            "option 'api_key' looks like a key",
        ),
        (
            "embeddings: {m: {source: sentence_transformers, options: {model: 3}}}",
            "model must be a folder or a hub name, not 3",
        ),
        ("corpus: {options: {lim: 3}}", "corpus source 'packaged': unknown key 'lim'"),
        ("evaluation: {analogy: no.txt}", "evaluation.analogy: no.txt: no such file"),
        ("evaluation: {similarity: {men: no.txt}}", "evaluation.similarity.men: no.txt: no such file"),
    ],
)
def test_options_and_files_are_checked_before_anything_runs(
    tree: Path, tmp_path: Path, change: str, message: str
) -> None:
    (tmp_path / "wrong.yaml").write_text(change)
    done = snakemake(tree, "-n", configfiles=[str(tmp_path / "wrong.yaml")])
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()[1:]  # the first line is Snakemake's, about its profile
    assert line.startswith("error: ")
    assert message in line
    assert "sk-1" not in done.stderr + done.stdout


def test_a_corpus_in_two_parts_holds_the_same_documents(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "parts.yaml").write_text("corpus: {parts: 2}\n")
    configs = ["config/test.yaml", str(tmp_path / "parts.yaml")]
    done = snakemake(tree, "data/corpus/documents", "--directory", str(tmp_path), configfiles=configs)
    assert done.returncode == 0, done.stderr[-2000:]
    ids = [
        sorted(name for shard in folder.glob("shard-*.parquet") for name in pq.read_table(shard)["id"].to_pylist())
        for folder in (tree / "data/corpus/documents", tmp_path / "data/corpus/documents")
    ]
    assert len(ids[0]) == 40
    assert ids[0] == ids[1]


def test_ready_vectors_alone_need_no_corpus_and_no_words(tree: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).standard_normal((300, 24), np.float32))
    own = {
        "embeddings": {"mine": {"source": "npy", "options": {"path": "vectors.npy"}, "vocabulary": "all"}},
        "tables": ["mine"],
        "representations": {
            **{"faiss_peers": ["faiss:SQ8"], "sentence_transformers_peers": [], "scalar": ["int8"]},
            **{"linear_decoder": [], "ternary": [], "sigma_delta": []},
        },
    }
    (tmp_path / "own.json").write_text(json.dumps(own))
    done = snakemake(tree, "--directory", str(tmp_path), configfiles=["config/test.yaml", str(tmp_path / "own.json")])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert not (tmp_path / "data/corpus").exists()
    found = {(row["representation"], row["search"]): row for row in rows(tmp_path / "results/benchmarks.csv")}
    assert {name for name, _ in found} == {"float32", "int8", "sign", "sign_centered", "faiss:SQ8", "lossless"}
    for row in found.values():
        assert (row["vectors"], row["dims"], row["wordsim353"], row["analogy_semantic"]) == ("300", "24", "", "")
        assert 0 < float(row["knn10_overlap"]) <= 1


def test_killed_runs_end_in_the_same_table(tree: Path, tmp_path: Path) -> None:
    """kill -9 of the workflow and all its jobs in one stage after the other."""
    folder = copy_tree(tmp_path / "killed")
    (folder / "small.json").write_text(json.dumps(SMALL))
    target, configs = "results/benchmarks.csv", ("config/test.yaml", "small.json")
    moments = random.Random(0)
    for stage in ("documents/0", "vocabulary", "embedding/spacy_md", "fit/spacy_md/binary", "measure/spacy_md/floats"):
        run = subprocess.Popen(
            command(target, configfiles=configs),
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while run.poll() is None and not (folder / f"logs/{stage}.log").exists():  # the stage has begun
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 1))
        assert run.poll() is None, f"the run had ended before {stage} was killed"
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        assert not (folder / target).exists()
    done = snakemake(folder, target, configfiles=configs)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = rows(folder / target)
    kept = {row["representation"] for row in found}
    assert len(kept) == 4
    undisturbed = [row for row in rows(tree / target) if row["embedding"] == "spacy_md"]
    assert found == [row for row in undisturbed if row["representation"] in kept]
