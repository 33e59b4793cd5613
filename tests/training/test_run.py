"""The stage: an autoencoder from a table to a file, killed in between or not."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open
from subjects import Rows, vectors

from pipeline import stage
from pipeline.split import split
from pipeline.store import EmbeddingTable, read_embedding, read_parquet, unit_rows, write_embedding
from pipeline.training import autoencoder, run
from pipeline.training.checkpoint import read

SETTINGS = {"steps": 1500, "batch": 64, "weights": {"reconstruction": 1, "similarity": 0.1, "decorrelation": 0.01}}
SETTINGS |= {"metric": "relative_mse", "evaluate_every": 50, "checkpoint_every": 20, "log_every": 7, "clip_norm": 1.0}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "t.parquet"
    write_embedding(path, EmbeddingTable([f"w{n}" for n in range(400)], 3 * vectors(400, 24)))
    return path


@pytest.fixture(scope="module")
def bent(tmp_path_factory):
    """Rows on a bent sheet: two numbers say all, but no plane holds them."""
    a, b = np.random.default_rng(0).uniform(-1, 1, (2, 800))
    x = np.stack([a, b, a * a, b * b, a * b], axis=1) @ np.random.default_rng(5).standard_normal((5, 16)) + 2
    path = tmp_path_factory.mktemp("bent") / "t.parquet"
    write_embedding(path, EmbeddingTable([f"w{n}" for n in range(800)], x.astype(np.float32)))
    return path


def arguments(table, folder, options='{"code": 6, "split_seed": 0}', **changed):
    found = ["--module", "pipeline.training.autoencoder", "--inputs", table, "--options", options, "--device", "cpu"]
    found += ["--settings", json.dumps(SETTINGS | changed), "--folder", folder / "run", "--output", folder / "model"]
    return [str(one) for one in found]


def test_killed_and_run_again_is_as_never_killed(table, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "pipeline.training.run", *arguments(table, killed)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not any(int(part.stem[5:]) > 200 for part in (killed / "run/log").glob("part-*.parquet")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 200 <= read(killed / "run/last.safetensors").facts["step"] < 1500
    for folder in (killed, whole):
        run.main(arguments(table, folder))
        assert not (folder / "run").exists()
    models = [read(folder / "model.safetensors") for folder in (killed, whole)]
    assert all(torch.equal(x, models[1].tensors[name]) for name, x in models[0].tensors.items())
    assert models[0].facts["result"]["best"] == models[1].facts["result"]["best"]
    timed = ["seconds", "samples_per_s"]
    logs = [read_parquet(folder / "model.parquet").drop_columns(timed) for folder in (killed, whole)]
    assert logs[0].equals(logs[1])


def test_the_outputs_say_what_they_are_and_give_the_model_back(bent, tmp_path):
    options = {"code": 2, "split_seed": 0}
    run.main(arguments(bent, tmp_path, json.dumps(options), steps=60, evaluate_every=20, learning_rate=0.01))
    found = read(tmp_path / "model.safetensors")
    assert found.facts["module"] == "pipeline.training.autoencoder"
    assert found.facts["options"] == options
    assert found.facts["settings"]["steps"] == 60
    assert found.facts["versions"]["torch"] == torch.__version__
    task = autoencoder.task([bent], options)
    task.model.load_state_dict(found.part("model"))
    with torch.no_grad():
        assert task.held_out(task.model)["relative_mse"] == pytest.approx(found.facts["result"]["best"], rel=1e-12)
    logged = read_parquet(tmp_path / "model.parquet")["held_out_relative_mse"].drop_null().to_pylist()
    assert min(logged) == found.facts["result"]["best"] < 0.8 * logged[0]
    with safe_open(tmp_path / "model.safetensors", "np") as file:
        assert set(file.metadata()) == {"checkpoint"}


def test_the_seed_chooses_the_first_weights(table, tmp_path):
    biases = []
    for number, seed in enumerate((0, 0, 1)):
        run.main(arguments(table, tmp_path / str(number), steps=1, learning_rate=0.0, seed=seed))
        biases.append(read(tmp_path / str(number) / "model.safetensors").tensors["model.hidden.bias"])
    assert torch.equal(biases[0], biases[1])
    assert not torch.equal(biases[0], biases[2])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--module": "pipeline.training.nothing"}, "--module: there is no module 'pipeline.training.nothing'"),
        ({"--module": ""}, "--module: '' is not the dotted name of a module"),
        ({"--module": "..x"}, "--module: '..x' is not the dotted name of a module"),
        ({"--module": "pipeline.store"}, "--module: pipeline.store has no task(inputs, options)"),
        ({"--options": '{"cod": 6}'}, "options: unknown key 'cod'; known are code, split_seed"),
        ({"--options": '{"code": 0}'}, "options: code must be a whole number of at least 1, not 0"),
        ({"--options": '{"code": 2, "hidden": 9}'}, "options: unknown key 'hidden'; known are code, split_seed"),
        (
            {"--options": '{"code": 24}'},
            "options: code 24 leaves nothing out of the 24 dimensions of {table}",
        ),
        ({"--options": '{"code": true}'}, "options: code must be a whole number of at least 1, not True"),
        ({"--settings": '{"steps": 3}'}, "settings: key 'batch' is missing"),
        (
            {"--settings": json.dumps(SETTINGS | {"batch": 281})},
            "280 samples to train on are fewer than a batch of 281",
        ),
        ({"--inputs": "nowhere.parquet"}, "nowhere.parquet: no such file"),
    ],
)
def test_bad_input_is_one_line(table, tmp_path, capsys, changed, said):
    told = dict(zip(*[iter(arguments(table, tmp_path))] * 2, strict=True)) | changed
    assert stage.run(run.main, [part for pair in told.items() for part in pair]) == 1
    assert capsys.readouterr().err.splitlines() == [f"error: {said.format(table=table)}"]


@pytest.mark.parametrize("temporary", [False, True])
def test_what_it_is_called_is_shown_and_a_temporary_folder_is_not_named(table, tmp_path, capsys, temporary):
    given = [*arguments(table, tmp_path, learning_rate=1e30), "--name", "train this"]
    assert stage.run(run.main, [*given, *(["--temporary"] if temporary else [])]) == 1
    *shown, said = capsys.readouterr().err.splitlines()
    assert "train this:" in "".join(shown)
    assert said.startswith("error: after step ")
    assert ("last.safetensors" in said) != temporary


def test_it_begins_as_the_principal_components_and_earns_its_place(bent, tmp_path):
    """Baldi and Hornik 1989: no linear autoencoder has less error than the first k components, with which it begins."""
    settings = {"steps": 400, "weights": {"reconstruction": 1, "similarity": 0, "decorrelation": 0}}
    settings |= {"learning_rate": 0.01, "metric": "relative_mse"}
    run.main(arguments(bent, tmp_path, '{"code": 2, "split_seed": 2}', **settings))
    x, rows = unit_rows(read_embedding(bent).vectors).astype(np.float64), split(800, 2)
    mean = x[rows.fit].mean(0)
    components = np.linalg.svd(x[rows.fit] - mean, full_matrices=False)[2][:2]
    held = x[rows.validation] - mean
    linear = np.square(held - held @ components.T @ components).sum() / np.square(held).sum()
    log = read_parquet(tmp_path / "model.parquet").to_pandas()
    assert log["held_out_relative_mse"][0] == pytest.approx(linear, rel=1e-4)
    assert read(tmp_path / "model.safetensors").facts["result"]["best"] < 0.5 * linear


def test_moments_are_of_all_pieces():
    x = vectors(100, 5) + np.float32(3)
    mean, covariance = autoencoder.moments(Rows(x, pieces=3))
    np.testing.assert_allclose(mean, x.mean(0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(x.astype(np.float64).T, bias=True), rtol=1e-9)


def test_the_three_parts_of_the_loss(table):
    task = autoencoder.task([table], {"code": 6})
    x = torch.from_numpy(np.concatenate([task.data.read(piece) for piece in range(len(task.data.sizes))]))
    np.testing.assert_allclose(x.norm(dim=1), 1, rtol=1e-6)
    assert len(x) == 280

    class Everything:
        gather = staticmethod(lambda rows: rows)

    with torch.no_grad():
        parts = task.loss(task.model, x, Everything())
        parts |= {name: parts[name]() for name in ("similarity", "decorrelation")}
        z = task.model.encoder(x)
        error = (task.model(x) - x).numpy().astype(np.float64)
    assert parts["reconstruction"].item() == pytest.approx(np.square(error).sum() / 280, rel=1e-5)
    off = np.corrcoef(z.numpy().T)[~np.eye(6, dtype=bool)]
    assert parts["decorrelation"].item() == pytest.approx(np.square(off).mean(), rel=1e-3)
    cosines = [(y @ y.T).numpy() for y in (x, z / z.norm(dim=1, keepdim=True))]
    assert parts["similarity"].item() == pytest.approx(np.square(cosines[0] - cosines[1]).mean(), rel=1e-4)
