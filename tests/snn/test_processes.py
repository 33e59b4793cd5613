"""Spiking networks trained in two processes are those trained in one."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import store
from pipeline.store import EmbeddingTable, write_embedding
from pipeline.training import checkpoint


def shards(folder, rng):
    folder.mkdir()
    documents = pa.array(rng.integers(1, 20, (40, 30)).tolist(), pa.list_(pa.int32()))
    table = pa.table({"id": pa.array([str(n) for n in range(40)]), "tokens": documents})
    facts = {"vocabulary_size": "20", "end_of_text": "0"}
    pq.write_table(table.replace_schema_metadata(facts), folder / store.shard_name(0))
    return folder


def language(folder):
    rng = np.random.default_rng(0)
    return [shards(folder / "train", rng), shards(folder / "validation", rng)]


def words(folder):
    vectors = np.random.default_rng(0).normal(size=(80, 12)).astype(np.float32)
    write_embedding(folder / "t.parquet", EmbeddingTable([f"w{row}" for row in range(80)], vectors))
    return [folder / "t.parquet"]


NETWORK = {"dims": 16, "heads": 2, "hidden": 32, "blocks": 1, "context": 8, "timesteps": 2, "dropout": 0.0}
TASKS = {
    "spikformer": (language, NETWORK, {"nats": 1}),
    "store_recall": (words, {"dims": 8, "neurons": 4, "width": 32, "longest": 3}, {"vector": 1}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_two_processes_learn_what_one_learns(name, tmp_path):
    inputs, options, weights = TASKS[name]
    # Few steps at a low rate: a rounding that moves a potential over its threshold would make two runs differ for good.
    settings = {"steps": 5, "batch": 16, "weights": weights, "learning_rate": 1e-3, "log_every": 1}
    given = ["--module", f"pipeline.snn.{name}", "--inputs", *inputs(tmp_path), "--options", json.dumps(options)]
    given += ["--settings", json.dumps(settings), "--device", "cpu"]
    found = []
    for count in (1, 2):
        command = ["-m", "pipeline.training.launch", "--processes", count, "pipeline.training.run", *given]
        command += ["--folder", tmp_path / f"run{count}", "--output", tmp_path / f"out{count}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, *map(str, command)], env=environment, check=True, timeout=300)
        log = pq.read_table(tmp_path / f"out{count}.parquet").to_pandas()
        found.append((checkpoint.read(tmp_path / f"out{count}.safetensors").part("model"), log))
    (one, log), (two, other) = found
    assert np.allclose(log["loss"][1:], other["loss"][1:], rtol=1e-4, atol=0)
    assert log["loss"].iloc[-1] != log["loss"].iloc[0]
    for key, x in one.items():
        assert (two[key] - x).norm() <= 1e-3 * x.norm() + 1e-6, key
