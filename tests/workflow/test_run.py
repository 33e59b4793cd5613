"""The real workflow on a tiny configuration: a copy of the tree runs as a user would run it."""

import csv
import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

CONFIG = Path(__file__).parent.parent.parent / "config"
TIMING = {"encode_vectors_per_s", "decode_vectors_per_s", "queries_per_s"}
TINY = yaml.safe_load((CONFIG / "test.yaml").read_text())["representations"]


def only(**kept: list[str]) -> dict[str, list[str]]:
    """Representations that, laid over the tiny configuration, leave out all others."""
    shipped = yaml.safe_load((CONFIG / "config.yaml").read_text())["representations"]
    return {**{module: [] for module in shipped}, **kept}


def planned(output: str) -> tuple[dict[str, int], set[str]]:
    """What a dry run would do: jobs by rule (its table of job counts), and the codec modules that its messages name."""
    counts = re.findall(r"^(\w+) +(\d+)$", output.partition("Job stats:")[2].partition("\ntotal ")[0], re.MULTILINE)
    return {rule: int(count) for rule, count in counts}, set(re.findall(r"(?:Fit|Measure) (\w+) on", output))


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k not in TIMING} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def tree(plant: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A copy of the tree in which everything has been run once."""
    tree = plant(tmp_path_factory.mktemp("workflow") / "tree with a space")
    start = time.monotonic()
    done = tree.run("--verbose")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = {"seconds": time.monotonic() - start, "log": done.stdout + done.stderr}
    (tree.folder / ".snakemake/said.json").write_text(json.dumps(said))
    yield tree
    shutil.rmtree(tree.folder, ignore_errors=True)


def test_the_scheduler_looks_once_a_second_and_when_a_job_ends(tree: Any) -> None:
    said = json.loads((tree.folder / ".snakemake/said.json").read_text())
    looks, ended = (said["log"].count(what) for what in ("Resources before job selection", "Finished jobid"))
    assert ended > 20
    assert ended / 2 < looks < 2 * ended + said["seconds"]


def test_the_table_holds_every_representation_of_every_embedding(tree: Any) -> None:
    table = rows(tree.folder / "results/benchmarks.csv")
    assert {row["embedding"] for row in table} == {"spacy_md", "minilm", "spacy_md+minilm"}
    for embedding in ("spacy_md", "minilm", "spacy_md+minilm"):
        names = {row["representation"] for row in table if row["embedding"] == embedding}
        assert {"float32", "truncate_128", "int8", "sign", "sign_centered", "faiss:SQ4"} < names
        assert names == {name for module in TINY.values() for name in module}
    reference = {row["embedding"]: row for row in table if row["representation"] == "float32"}
    assert {row["dims"] for row in reference.values()} == {"300", "384", "684"}
    for row in reference.values():
        assert (row["knn10_overlap"], row["exact_values"], row["relative_mse"]) == ("1", "1", "0")
        assert row["seeds"] == "2"


def test_word_tasks_have_values_and_coverage(tree: Any) -> None:
    long = pq.read_table(tree.folder / "results/benchmarks.parquet").to_pylist()
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


def test_figures_tokens_and_logs_are_there(tree: Any) -> None:
    figures = sorted(path.name for path in (tree.folder / "results/figures").glob("*.png"))
    assert figures == [
        "analogy_by_bytes.png",
        "best_by_bytes.png",
        "datasets.png",
        "distortion_by_bytes.png",
        "recall_by_bytes.png",
        "recall_unseen_by_bytes.png",
        "sigma_delta_slopes.png",
        "snn_energy.png",
        "snn_memory.png",
        "snn_popspike_membrane.png",
        "snn_popspike_raster.png",
        "snn_spikformer_attention.png",
        "snn_spikformer_membrane.png",
        "snn_spikformer_raster.png",
        "snn_spikingjam.png",
        "snn_spikingjam_energy.png",
        "snn_training.png",
        "spike_fidelity.png",
        "spike_raster.png",
        "spikes_by_distortion.png",
        "stream_by_tokens.png",
        "training_curves.png",
        "tuning_curves.png",
    ]
    assert all((tree.folder / "results/figures" / name).stat().st_size > 10_000 for name in figures)
    assert list((tree.folder / "data/corpus/tokens").glob("shard-*.parquet"))
    assert (tree.folder / "logs/fit/minilm/binary.log").exists()
    assert (tree.folder / "results/timing/fit/minilm/binary.tsv").exists()


def test_trained_networks_have_rows_beside_their_controls(tree: Any) -> None:
    table = rows(tree.folder / "results/snn.csv")
    networks = {(row["network"], row["variant"]) for row in table}
    assert {("spikformer", "spiking"), ("spikformer", "dense"), ("spikformer", "ngram")} <= networks
    assert {("popspike", "spiking"), ("popspike", "dense"), ("popspike", "without_memory")} <= networks
    assert "spikingjam" in {name for name, _ in networks}
    energies = {row["variant"] for row in table if row["task"] == "energy" and row["metric"] == "memory_pj"}
    assert {"spiking", "dense"} <= energies
    assert not [row for row in table if row["variant"] == "dense" and row["spike_rate"]]


def test_a_second_run_does_nothing(tree: Any) -> None:
    again = tree.run()
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_an_edit_reruns_what_depends_on_it_and_nothing_else(tree: Any) -> None:
    module = tree.folder / "pipeline/codecs/binary.py"
    before = module.read_text()
    module.write_text(before + "\n# edited\n")
    try:
        counts, modules = planned(tree.run("-n").stdout)
    finally:
        module.write_text(before)
    assert counts == {
        **{"fit": 6, "measure": 6, "table": 1, "figures": 1, "ledger": 1, "compression_figures": 1},  # three tables
        **{"best_by_bytes": 1, "best_by_bytes_figure": 1, "spikes_figure": 1, "spike_pictures": 1, "all": 1},
        **{"popspike_measure": 1, "snn_table": 1, "snn_figure": 4},  # next words are ranked by sign bits, too
        **{"popspike_activity": 1, "popspike_activity_figures": 1},  # reads its model as the measuring does
    }
    assert modules == {"binary", "spike_codes"}  # spikes carry `sign`, a code of that module


def test_one_stage_can_be_forced(tree: Any) -> None:
    counts, _ = planned(tree.run("-n", "-R", "vocabulary").stdout)
    assert counts["vocabulary"] == 1
    assert counts["embedding"] == 2
    assert not counts.keys() & {"benchmark_sets", "documents", "tokenizer", "tokens"}


def test_the_report_is_written(tree: Any) -> None:
    done = tree.run("--report", "results/workflow.html")
    assert done.returncode == 0, done.stderr[-2000:]
    page = (tree.folder / "results/workflow.html").read_text()
    assert "recall_by_bytes" in page
    assert "benchmarks.csv" in page


def test_the_peers_grid_has_a_table_of_its_own(tree: Any) -> None:
    (tree.folder / "one.json").write_text(json.dumps({"tables": ["spacy_md"]}))
    done = tree.run("results/peers.csv", configfiles=["config/test.yaml", "one.json"])
    assert done.returncode == 0, done.stderr[-2000:]
    table = rows(tree.folder / "results/peers.csv")
    assert {(row["embedding"], row["representation"]) for row in table} == {("spacy_md", "faiss:PCA64,PQ8x4np")}
    assert list(table[0]) == list(rows(tree.folder / "results/benchmarks.csv")[0])
    assert "Nothing to be done" in tree.run().stderr  # the main job does not depend on it


def test_the_peers_grid_meets_the_default_one(tree: Any) -> None:
    targets = ("results/best_by_bytes_peers.csv", "results/compression_peers.csv")
    done = tree.run("-n", "-p", *targets)
    counts, _ = planned(done.stdout)
    assert {"best_by_bytes_peers": 1, "ledger_peers": 1}.items() <= counts.items()
    assert not counts.keys() & {"fit", "measure", "table", "embedding"}  # the default's are there
    commands = {
        line.split(" -m ")[1].split(" ")[0]: line for line in done.stdout.splitlines() if " -m pipeline.ev" in line
    }
    both = "--benchmarks results/benchmarks.parquet results/peers.parquet"
    assert all(both in commands[f"pipeline.evaluation.{module}"] for module in ("best_by_bytes", "compression"))
    folders = ("results/codecs/minilm/binary", "results/peers/codecs/minilm/faiss_peers")
    assert all(folder in commands["pipeline.evaluation.compression"] for folder in folders)
    makefile = (CONFIG.parent / "Makefile").read_text()
    assert all(target in makefile.partition("\npeers:")[2].partition("\n\n")[0] for target in targets)


def test_the_ablation_trains_each_variant_beside_the_main_job(tree: Any) -> None:
    targets = ("results/ablation.csv", "results/prefixes.csv", "results/figures/ablation.png")
    done = tree.run("-n", "-p", *targets)
    counts, _ = planned(done.stdout)
    runs = 4  # shipped, untrained, and each of two sizes alone
    assert counts == {"fit_ablation": 3 * runs, "measure_ablation": 3 * runs, "ablation": 1, "ablation_figure": 1}
    commands = [line for line in done.stdout.splitlines() if " -m pipeline.codecs.fit " in line]
    (alone,) = (line for line in commands if "/minilm/alone_128/" in line)
    assert '"sizes": [128]' in alone
    assert "--representations matryoshka_128 --seeds" in alone
    makefile = (CONFIG.parent / "Makefile").read_text()
    assert all(target in makefile.partition("\nablation:")[2].partition("\n\n")[0] for target in targets)


@pytest.mark.slow
def test_the_ablation_compares_every_variant_with_the_shipped_one(tree: Any) -> None:
    (tree.folder / "one.json").write_text(json.dumps({"tables": ["spacy_md"]}))
    done = tree.run("results/figures/ablation.png", configfiles=["config/test.yaml", "one.json"])
    assert done.returncode == 0, done.stderr[-2000:]
    table = rows(tree.folder / "results/ablation.csv")
    assert {row["variant"] for row in table} == {"shipped", "untrained", "alone"}
    assert {row["search"] for row in table} == {"decoded", "hamming"}
    for row in table:
        assert 0 < float(row["knn10_overlap"]) < 1
        assert bool(row["knn10_overlap_difference"]) == bool(row["compared_with"])
    (untrained, shipped) = (
        next(row for row in table if (row["variant"], row["representation"]) == (variant, "matryoshka_128"))
        for variant in ("untrained", "shipped")
    )
    assert int(untrained["shared_bytes"]) < int(shipped["shared_bytes"])
    prefixes = rows(tree.folder / "results/prefixes.csv")
    assert {(row["bits"], row["beside"]) for row in prefixes} == {("64", "alone"), ("128", "alone")}
    assert (tree.folder / "results/figures/ablation.png").stat().st_size > 10_000


def test_two_runs_in_one_folder_are_refused(tree: Any) -> None:
    with open(tree.folder / ".snakemake/run.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = tree.run("-R", "table")
    assert done.returncode != 0
    assert "another run is at work" in done.stdout + done.stderr


def test_a_corpus_in_two_parts_holds_the_same_documents(tree: Any, tmp_path: Path) -> None:
    (tmp_path / "parts.yaml").write_text("corpus: {parts: 2}\n")
    configs = ["config/test.yaml", str(tmp_path / "parts.yaml")]
    done = tree.run("data/corpus/documents", "--directory", str(tmp_path), configfiles=configs)
    assert done.returncode == 0, done.stderr[-2000:]
    ids = [
        sorted(name for shard in folder.glob("shard-*.parquet") for name in pq.read_table(shard)["id"].to_pylist())
        for folder in (tree.folder / "data/corpus/documents", tmp_path / "data/corpus/documents")
    ]
    assert len(ids[0]) == 40
    assert ids[0] == ids[1]


def test_ready_vectors_alone_need_no_corpus_and_no_words(tree: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).standard_normal((300, 24), np.float32))
    own = {
        "embeddings": {"mine": {"source": "npy", "options": {"path": "vectors.npy"}, "vocabulary": "all"}},
        "tables": ["mine"],
        "representations": only(
            floats=["float32", "truncate_128"],  # which 24 dimensions cannot have: it is left out
            scalar=["int8"],
            binary=["sign", "sign_centered"],
            lossless=["lossless"],
            faiss_peers=["faiss:SQ8"],
        ),
        "training": {"autoencoder": {"codes": []}},
    }
    (tmp_path / "own.json").write_text(json.dumps(own))
    done = tree.run("--directory", str(tmp_path), configfiles=["config/test.yaml", str(tmp_path / "own.json")])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert not (tmp_path / "data/corpus").exists()
    found = {(row["representation"], row["search"]): row for row in rows(tmp_path / "results/benchmarks.csv")}
    assert {name for name, _ in found} == {"float32", "int8", "sign", "sign_centered", "faiss:SQ8", "lossless"}
    for row in found.values():
        assert (row["vectors"], row["dims"], row["wordsim353"], row["analogy_semantic"]) == ("300", "24", "", "")
        assert 0 < float(row["knn10_overlap"]) <= 1


def test_killed_runs_end_in_the_same_table(plant: Callable[[Path], Any], tree: Any, tmp_path: Path) -> None:
    """kill -9 of the workflow and all its jobs, in one stage after the other; the same seeds give the same values."""
    killed = plant(tmp_path / "killed")
    modules = ("floats", "scalar", "binary", "faiss_peers", "sentence_transformers_peers")
    small = {"tables": ["spacy_md"], "representations": only(**{module: TINY[module] for module in modules})}
    (killed.folder / "small.json").write_text(json.dumps(small))
    target, configs = "results/benchmarks.csv", ("config/test.yaml", "small.json")
    moments = random.Random(0)
    for stage in ("documents/0", "vocabulary", "embedding/spacy_md", "fit/spacy_md/binary", "measure/spacy_md/floats"):
        run = subprocess.Popen(
            killed.command(target, configfiles=configs),
            cwd=killed.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while run.poll() is None and not (killed.folder / f"logs/{stage}.log").exists():  # the stage has begun
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 1))
        assert run.poll() is None, f"the run had ended before {stage} was killed"
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        assert not (killed.folder / target).exists()
    done = killed.run(target, configfiles=configs)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = rows(killed.folder / target)
    kept = {row["representation"] for row in found}
    assert kept == {name for module in modules for name in TINY[module]}
    undisturbed = [row for row in rows(tree.folder / target) if row["embedding"] == "spacy_md"]
    assert found == [row for row in undisturbed if row["representation"] in kept]
