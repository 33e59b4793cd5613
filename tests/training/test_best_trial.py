"""Trials: the best by the held-out metric is copied whole, and what cannot be compared is refused."""

import copy
import csv
import math

import pytest
import torch

from pipeline import stage
from pipeline.stage import UserError
from pipeline.training import best_trial, checkpoint

FACTS = {
    "module": "pipeline.snn.spikformer",
    "options": {"model": "base"},
    "data": {"rows": 7},
    "settings": {"learning_rate": 1.0, "seed": 3, "metric": "bits", "larger_is_better": False, "weights": {"nats": 1}},
    "result": {"ended_by": "steps", "steps": 9, "best": 8.0, "best_step": 6, "seconds": 1.5},
}


def trials(values, **settings):
    found = []
    for number, value in enumerate(values):
        one = copy.deepcopy(FACTS)
        one["settings"] |= {"learning_rate": number + 0.5, **settings}
        one["result"]["best"] = value
        found.append(one)
    return found


def test_the_best_by_the_metric_and_its_direction_and_the_earlier_of_equals():
    assert best_trial.best(trials([8.0, 7.0, 7.0, 9.0])) == 1
    assert best_trial.best(trials([8.0, 7.0, 9.0, 9.0], larger_is_better=True)) == 2


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("module", lambda one: one.update(module="pipeline.snn.transformer"), "trials of different module"),
        ("options", lambda one: one["options"].update(model="small"), "trials of different options"),
        ("data", lambda one: one["data"].update(rows=8), "trials of different data"),
        ("seed", lambda one: one["settings"].update(seed=4), "trials of different seed: 3, 4"),
        ("metric", lambda one: one["settings"].update(metric="loss"), "trials of different metric: bits, loss"),
    ],
)
def test_what_cannot_be_compared_is_refused(name, change, message):
    found = trials([8.0, 7.0])
    change(found[1])
    with pytest.raises(UserError, match=message):
        best_trial.best(found)


def test_no_metric_no_choice():
    with pytest.raises(UserError, match="without a metric"):
        best_trial.best(trials([8.0, 7.0], metric=None))


def test_the_files_of_the_best_are_copied_and_all_are_told(tmp_path):
    paths = []
    for number, facts in enumerate(trials([8.0, 7.5])):
        paths.append(tmp_path / f"t{number}.safetensors")
        checkpoint.write(paths[-1], {"model.x": torch.full((2,), float(number))}, facts)
        paths[-1].with_suffix(".parquet").write_bytes(b"log %d" % number)
    output = tmp_path / "out" / "spiking-3"
    assert stage.run(best_trial.main, ["--trials", *map(str, paths), "--output", str(output)]) == 0
    assert (output.parent / "spiking-3.safetensors").read_bytes() == paths[1].read_bytes()
    assert (output.parent / "spiking-3.parquet").read_bytes() == b"log 1"
    with (output.parent / "spiking-3.trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["learning_rate"], row["best"], row["chosen"]) for row in rows] == [
        ("0.5", "8.0", "0"),
        ("1.5", "7.5", "1"),
    ]
    assert "seed" not in rows[0]


def test_without_its_log_nothing_of_the_best_is_copied(tmp_path, capfd):
    path = tmp_path / "t0.safetensors"
    checkpoint.write(path, {"model.x": torch.zeros(1)}, FACTS)
    assert stage.run(best_trial.main, ["--trials", str(path), "--output", str(tmp_path / "out" / "best")]) == 1
    assert capfd.readouterr().err == f"error: {tmp_path / 't0.parquet'}: No such file or directory\n"
    assert not any((tmp_path / "out").iterdir())


def test_a_setting_that_a_trial_says_nothing_of_is_null():
    found = trials([8.0, 7.0])
    del found[1]["settings"]["learning_rate"]
    assert [line.split(",")[:2] for line in best_trial.table(found, 1).splitlines()[1:]] == [
        ["0", "0.5"],
        ["1", "null"],
    ]


def test_a_file_that_is_no_training_is_named(tmp_path, capfd):
    path = tmp_path / "other.safetensors"
    checkpoint.write(path, {"x": torch.zeros(1)}, {"module": "m"})
    assert stage.run(best_trial.main, ["--trials", str(path), "--output", str(tmp_path / "out")]) == 1
    assert "other.safetensors: not a finished training (no settings.metric)" in capfd.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("settings", {}, "not a finished training (no settings.metric)"),
        ("settings", None, "not a finished training (no settings.metric)"),
        ("settings", [*best_trial.NEEDED["settings"]], "not a finished training (no settings.metric)"),
        ("result", " ".join(best_trial.RESULT), "not a finished training (no result.best)"),
        ("result", {"best": 1.0}, "not a finished training (no result.best_step)"),
        ("result", {**FACTS["result"], "best": None}, "the best bits is None, no number: nothing to choose by"),
        ("result", {**FACTS["result"], "best": "8"}, "the best bits is '8', no number"),
        ("result", {**FACTS["result"], "best": math.nan}, "the best bits is nan, no number"),
    ],
)
def test_a_header_that_says_too_little_is_named(tmp_path, capfd, part, change, message):
    path = tmp_path / "short.safetensors"
    checkpoint.write(path, {"x": torch.zeros(1)}, {**FACTS, part: change})
    assert stage.run(best_trial.main, ["--trials", str(path), "--output", str(tmp_path / "out")]) == 1
    assert f"short.safetensors: {message}" in capfd.readouterr().err
