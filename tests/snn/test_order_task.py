import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.snn import order_task, position_ablation
from pipeline.snn.attention import PhaseShiftedAttention
from pipeline.stage import UserError
from pipeline.store import write_parquet

OPTIONS = {"dims": 16, "heads": 2, "hidden": 48, "blocks": 1, "context": 12, "decay": "none", "dropout": 0.0}


def test_the_answer_is_the_first_of_the_two_marks():
    rows = order_task.samples(500, 12, 8, 0)
    assert rows.shape == (500, 13)
    for row in rows:
        marks = [token for token in row[:-2] if token in order_task.MARKS]
        assert sorted(marks) == [0, 1]
        assert marks[0] == row[-1]
        assert row[-2] == order_task.QUESTION
    assert 0.4 < rows[:, -1].mean() < 0.6
    assert len({tuple(np.flatnonzero(row[:-2] < 2)) for row in rows}) == 55  # every pair of 11 places


def test_without_position_one_block_answers_a_bag():
    """Turned round, the tokens before the question have the other answer: `none` says the same, phases do not."""
    for kind, same in (("none", True), ("phase_constant", True), ("phase_fixed", False), ("gray", False)):
        torch.manual_seed(0)
        model = order_task.task([], {**OPTIONS, "position": kind}).model.eval()
        rows = torch.from_numpy(order_task.samples(8, 12, 8, 0))
        turned = torch.cat([rows[:, :11].flip(1), rows[:, 11:]], 1)
        with torch.no_grad():
            assert torch.allclose(order_task.answers(model, rows), order_task.answers(model, turned), atol=1e-4) == same


def test_bad_options_are_named():
    with pytest.raises(UserError, match="samples must be a whole number of at least 1, not 0"):
        order_task.task([], {**OPTIONS, "samples": 0})
    with pytest.raises(UserError, match="two marks and a question are 3 tokens"):
        order_task.task([], {**OPTIONS, "context": 2, "position": "none"})
    for kind, named in (("sine", "'sine'"), (["none"], r"\['none'\]")):
        with pytest.raises(UserError, match=f"kinds: {named} is not one of"):
            position_ablation.plan({"kinds": [kind]})
    with pytest.raises(UserError, match="order_steps must be a whole number of at least 1"):
        position_ablation.plan({"order_steps": 0})
    for name, value in (("kinds", 5), ("kinds", None), ("order", 5), ("language", [1])):
        with pytest.raises(UserError, match=f"options: {name} must be a"):
            position_ablation.plan({name: value})


@pytest.mark.parametrize("name", ["order", "language"])
def test_nothing_but_the_position_tells_of_order(name, monkeypatch):
    """Whatever the defaults of the networks are, attention has no decay and nothing is dropped out."""
    asked = {}

    class StoppedError(Exception):
        pass

    def task(inputs, options):
        asked.update(options)
        raise StoppedError

    monkeypatch.setattr(position_ablation.order_task, "task", task)
    monkeypatch.setattr(position_ablation.spikformer, "task", task)
    with pytest.raises(StoppedError):
        position_ablation.run(name, "gray", 0, position_ablation.Plan(), [])
    assert (asked["position"], asked["decay"], asked["dropout"]) == ("gray", "none", 0.0)


def test_attention_of_the_ablation_has_no_decay(monkeypatch):
    trained = []
    monkeypatch.setattr(position_ablation, "train", lambda model, *how, **more: trained.append(model))
    position_ablation.run("order", "gray", 0, position_ablation.Plan(), [])
    modules = list(trained[0].modules())
    decays = [one.decay for one in modules if isinstance(one, PhaseShiftedAttention)]
    assert decays
    assert all((decay == 1).all() for decay in decays)
    assert {one.p for one in modules if isinstance(one, torch.nn.Dropout)} == {0.0}


def test_what_the_ablation_sets_itself_is_refused_and_each_kind_comes_once():
    for name, key in (("order", "position"), ("language", "decay"), ("order", "dropout"), ("order", "seed")):
        with pytest.raises(UserError, match=f"options: {name}: {key} is the ablation's own"):
            position_ablation.plan({name: {key: "none"}})
    for kinds in ([], ["none", "none"]):
        with pytest.raises(UserError, match="kinds must be some, each once"):
            position_ablation.plan({"kinds": kinds})


def test_options_of_the_language_networks_are_checked_before_any_run():
    with pytest.raises(UserError, match="contexts"):
        position_ablation.plan({"language": {"contexts": 32}})


def tokens(folder, token=1):
    """Folders of training and validation tokens."""
    for part in (folder / "train", folder / "validation"):
        part.mkdir(parents=True, exist_ok=True)
        table = pa.table({"tokens": pa.array([[token] * 200], pa.list_(pa.int32()))})
        write_parquet(part / "shard-00000.parquet", table, {"vocabulary_size": "20"})
    return [folder / "train", folder / "validation"]


def test_the_ablation_keeps_runs_that_have_ended(tmp_path, monkeypatch):
    made = []

    def run(name, kind, seed, *others):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append((name, kind, seed))
        return {"value": float(seed), "spike_rate": 0.2, "parameters": 10.0}

    monkeypatch.setattr(position_ablation, "run", run)
    plan, given = position_ablation.plan({"kinds": ["none", "gray"]}), tokens(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        position_ablation.ablation(given, plan, 7, tmp_path / "runs")
    first, made[:] = list(made), []
    monkeypatch.setattr(position_ablation, "run", lambda *a: made.append(a[:3]) or {"value": a[2] / 10})
    rows = position_ablation.ablation(given, plan, 7, tmp_path / "runs")
    assert first == [("order", "none", 7), ("order", "gray", 7), ("language", "none", 7)]
    assert made == [("language", "gray", 7)]
    assert [(row["task"], row["metric"], row["variant"], row["seed"], row["value"]) for row in rows] == [
        ("order", "accuracy", "none", 7, 7.0),
        ("order", "accuracy", "gray", 7, 7.0),
        ("language", "validation_bits", "none", 7, 7.0),
        ("language", "validation_bits", "gray", 7, 0.7),
    ]
    with pytest.raises(UserError, match="has runs of other options"):
        position_ablation.ablation(given, plan, 8, tmp_path / "runs")


def test_runs_are_not_taken_up_with_other_tokens_at_the_same_path(tmp_path, monkeypatch):
    monkeypatch.setattr(position_ablation, "run", lambda *_: {"value": 0.5})
    plan = position_ablation.plan({"kinds": ["none"]})
    position_ablation.ablation(tokens(tmp_path), plan, 7, tmp_path / "runs")
    given = tokens(tmp_path, 2)
    with pytest.raises(UserError, match="has runs of other options or tokens"):
        position_ablation.ablation(given, plan, 7, tmp_path / "runs")
    with pytest.raises(UserError, match=r"shard-00000\.parquet: row 0 of row group 0 holds token 20, expected 0 to 19"):
        position_ablation.ablation(tokens(tmp_path, 20), plan, 7, tmp_path / "others")
    with pytest.raises(UserError, match=r"none: no shard"):
        position_ablation.ablation([tmp_path / "none", given[1]], plan, 7, tmp_path / "others")
    assert not (tmp_path / "others").exists()
