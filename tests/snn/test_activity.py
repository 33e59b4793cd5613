"""Layers that are dead or saturated: what is done about them, and that each of the trainings asks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from pipeline.neurons.lif import LIF
from pipeline.snn import language, next_word, order_task, sentence_encoder, sentences, spikformer, store_recall
from pipeline.snn.activity import watch
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, unit_rows, write_embedding, write_parquet
from pipeline.training.arrays import Rows
from pipeline.training.task import Context, Task, alone

DEAD, SATURATED, ALIVE = 0.0, 0.99, 0.2


def context(rows: int = 4, step: int = 0) -> Context:
    return Context(step, 10, alone, torch.Generator().manual_seed(0), rows, slice(None))


def network(learned: bool) -> nn.Module:
    return nn.ModuleDict({"one": LIF(3, threshold=1.0, learned=learned), "two": LIF(3, threshold=1.0, learned=learned)})


def thresholds(model: nn.Module) -> list[float]:
    return [round(float(layer.threshold.detach().mean()), 5) for layer in model.values()]  # type: ignore[operator]


def rates(*values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in zip(("one", "two"), values, strict=True)}


@pytest.mark.parametrize("learned", [False, True])
def test_a_rescue_lowers_thresholds_of_the_dead_and_raises_those_of_the_saturated(learned: bool) -> None:
    model = network(learned)
    watch(model, rates(DEAD, SATURATED), "rescue", context())
    assert thresholds(model) == [0.7, pytest.approx(1 / 0.7, abs=1e-5)]
    watch(model, rates(ALIVE, ALIVE), "rescue", context())
    assert thresholds(model) == [0.7, pytest.approx(1 / 0.7, abs=1e-5)]


def test_a_warning_names_the_layer_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    model = network(False)
    watch(model, rates(ALIVE, SATURATED), "warn", context())
    assert thresholds(model) == [1.0, 1.0]
    assert [record.message for record in caplog.records] == ["layer two: 99% of all neurons and steps fired"]


@pytest.mark.parametrize(("wrong", "what"), [(DEAD, "no neuron fired"), (SATURATED, "99% of all")])
def test_a_stop_names_the_layer(wrong: float, what: str) -> None:
    with pytest.raises(UserError, match=f"layer two: {what}"):
        watch(network(False), rates(ALIVE, wrong), "stop", context())


LANGUAGE = {"dims": 16, "heads": 2, "hidden": 32, "blocks": 1, "context": 8, "timesteps": 2, "dead_layers": "stop"}
POPSPIKE = {"dims": 8, "neurons": 4, "width": 32, "dead_layers": "stop"}


def a_table(folder: Path) -> Path:
    vectors = np.random.default_rng(0).normal(size=(80, 12)).astype(np.float32)
    write_embedding(folder / "t.parquet", EmbeddingTable([f"w{row}" for row in range(80)], vectors))
    return folder / "t.parquet"


def some_words(folder: Path) -> list[Path]:
    found = []
    for part in ("train", "validation"):
        found.append(folder / f"{part}.parquet")
        tokens = np.random.default_rng(0).integers(80, size=(4, 30)).tolist()
        write_parquet(found[-1], pa.table({"tokens": pa.array(tokens, pa.list_(pa.int32()))}), {"words": "80"})
    return found


def some_sentences(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)

    def unit(rows: int) -> np.ndarray:
        return unit_rows(rng.standard_normal((rows, 6)).astype(np.float32))

    for name in ("train", "validation"):
        tokens = [rng.integers(30, size=5) for _ in range(12)]
        write_parquet(folder / f"{name}.parquet", sentences.table([f"{name} {i}" for i in range(12)], unit(12), tokens))
    write_parquet(folder / "tokens.parquet", sentences.table([f"t{i}" for i in range(30)], unit(30)))
    return [folder / f"{name}.parquet" for name in ("train", "validation", "tokens")]


def a_language_task(folder: Path) -> Task:
    rows = np.random.default_rng(0).integers(50, size=(4, 16)).astype(np.int32)
    return Task(spikformer.build(50, LANGUAGE), Rows(rows), language.loss("stop"))


TASKS: dict[str, Callable[[Path], Task]] = {
    "language": a_language_task,
    "next_word": lambda folder: next_word.task([a_table(folder), *some_words(folder)], {**POPSPIKE, "length": 8}),
    "store_recall": lambda folder: store_recall.task([a_table(folder)], POPSPIKE),
    "sentence_encoder": lambda folder: sentence_encoder.task(some_sentences(folder), {**LANGUAGE, "code": 6}),
    "order_task": lambda folder: order_task.task([], {**LANGUAGE, "samples": 8, "fillers": 8}),
}


@pytest.mark.parametrize("name", TASKS)
def test_each_training_watches_its_layers(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = TASKS[name](tmp_path)
    rows = torch.from_numpy(task.data.read(0)[:4].copy())
    task.loss(task.model.train(), rows, context())
    layer, dead = [(name, one) for name, one in task.model.named_modules() if isinstance(one, LIF)][-1]
    dead.move_threshold(1e6)
    with pytest.raises(UserError, match=f"layer {layer}: no neuron fired"):
        task.loss(task.model, rows, context())
