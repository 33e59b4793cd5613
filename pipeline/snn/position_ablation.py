"""Stage: how a spiking transformer is told of order, ablated: each kind of `positions`, on two tasks, with one seed.

Takes   the folders of training and validation language tokens.
Makes   a Parquet file of rows of `measurements`: variant is the kind of position; task `order` (order_task; metric
        `accuracy`) and `language` (metric `validation_bits`). The table of spiking networks has their means over seeds
        and 95 % intervals by Student's t.

Networks have as many parameters, steps and samples, whatever the kind, and attention has no decay (g = 1): so order can
come from the position alone. The last step's network is measured, none is chosen. A run that has ended is kept in
--folder, and a stage that was killed goes on behind it; the folder is removed when the output is whole.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pipeline import stage, store
from pipeline.snn import language, measurements, operations, order_task, positions, spikformer
from pipeline.stage import UserError, check_keys
from pipeline.training.distributed import Processes
from pipeline.training.loop import train
from pipeline.training.settings import Settings

Row = dict[str, Any]


WITHOUT = {"decay": "none", "dropout": 0.0}
"""Options of all networks: nothing but the position tells of order."""
OWN = {"position", "seed", *WITHOUT}
"""Options of the networks that a plan has no say in."""


class Plan(NamedTuple):
    """The options. `order` and `language` are options of the networks, the `_steps` of training."""

    kinds: Sequence[str] = positions.KINDS
    order: Mapping[str, Any] = {
        "timesteps": 4,
        "context": 16,
        "dims": 32,
        "heads": 4,
        "hidden": 96,
        "blocks": 1,
    }
    order_steps: int = 400
    order_batch: int = 64
    language: Mapping[str, Any] = {"timesteps": 4, "context": 32, "dims": 64, "hidden": 192}
    language_steps: int = 600
    language_batch: int = 32
    learning_rate: float = 5e-3


def plan(given: Mapping[str, Any]) -> Plan:
    """Raises UserError for an unknown key, a value or number that cannot be, and a kind that there is not."""
    check_keys("options", given, Plan._fields)
    found = Plan(**given)
    for name, kind, what in (
        ("kinds", list | tuple, "a list"),
        ("order", Mapping, "a table"),
        ("language", Mapping, "a table"),
    ):
        if not isinstance(value := getattr(found, name), kind):
            raise UserError(f"options: {name} must be {what}, not {value!r}")
    for name in ("order_steps", "order_batch", "language_steps", "language_batch"):
        if type(value := getattr(found, name)) is not int or value < 1:
            raise UserError(f"options: {name} must be a whole number of at least 1, not {value!r}")
    for name, value in (("order", found.order), ("language", found.language)):
        if given_twice := sorted(value.keys() & OWN):
            raise UserError(f"options: {name}: {given_twice[0]} is the ablation's own")
    if unknown := [kind for kind in found.kinds if kind not in positions.KINDS]:
        raise UserError(f"options: kinds: {unknown[0]!r} is not one of {', '.join(positions.KINDS)}")
    if not found.kinds or len(set(found.kinds)) < len(found.kinds):
        raise UserError(f"options: kinds must be some, each once, not {list(found.kinds)}")
    for position in found.kinds:  # now, not behind the runs of the other task
        language.options({**found.language, **WITHOUT, "position": position})
    return found


def run(name: str, kind: str, seed: int, chosen: Plan, tokens: Sequence[Path], device: str = "cpu") -> dict[str, float]:
    """Train one network on the task `name`; its `value` on held-out samples, `spike_rate` and `parameters`."""
    own = {**WITHOUT, "position": kind}
    torch.manual_seed(seed)
    if name == "order":
        task, metric = order_task.task([], {**chosen.order, **own, "seed": seed}), "accuracy"
        steps, batch = chosen.order_steps, chosen.order_batch
    else:
        task, metric = spikformer.task(tokens, {**chosen.language, **own}), "bits"
        steps, batch = chosen.language_steps, chosen.language_batch
    settings = Settings(
        steps=steps,
        batch=batch,
        weights={"nats": 1},
        learning_rate=chosen.learning_rate,
        warmup_steps=steps // 20,
        clip_norm=1.0,
        beta2=0.98,
        seed=seed,
        evaluate_every=steps,
        checkpoint_every=steps,
    )
    assert task.held_out is not None
    with tempfile.TemporaryDirectory() as folder:
        where, title = Processes(device=torch.device(device)), f"{name} {kind} {seed}"
        train(task.model, task.data, task.loss, settings, folder, processes=where, name=title, lasting=False)
    task.model.eval()
    with torch.no_grad():
        found = task.held_out(task.model)
    rates = [value for key, value in found.items() if key.startswith("rate_")]
    return {
        "value": found[metric],
        "spike_rate": float(np.mean(rates)),
        "parameters": float(operations.parameters(task.model)),
    }


METRICS = {"order": "accuracy", "language": "validation_bits"}


def rows(runs: Mapping[tuple[str, str], Mapping[str, float]], chosen: Plan, seed: int) -> Iterator[Row]:
    """Of runs by task and kind."""
    for name, metric in METRICS.items():
        steps = {"order": chosen.order, "language": chosen.language}[name].get("timesteps", language.How().timesteps)
        for kind in chosen.kinds:
            keys = {"network": "spikformer", "variant": kind, "size": "small", "task": name, "timesteps": steps}
            yield {**keys, "metric": metric, "seed": seed, **runs[name, kind]}


def ablation(tokens: Sequence[Path], chosen: Plan, seed: int, folder: Path, device: str = "cpu") -> list[Row]:
    """All runs of a seed, those that `folder` has taken from there. Raises UserError if it is of another plan, seed or
    other tokens, and as `language.corpus`."""
    how = language.options({**chosen.language, **WITHOUT, "position": chosen.kinds[0]})
    language.corpus(tokens, how.context)  # now, not behind the runs that need no tokens
    folder.mkdir(parents=True, exist_ok=True)
    asked = {**chosen._asdict(), "kinds": list(chosen.kinds), "order": dict(chosen.order), "seed": seed}
    asked |= {"language": dict(chosen.language), "tokens": [store.digest(path) for path in tokens]}
    if not (folder / "plan.json").exists():
        store.write_json(folder / "plan.json", asked)
    elif store.read_json(folder / "plan.json") != asked:
        raise UserError(f"{folder}: has runs of other options or tokens; remove it to start anew")
    runs = {}
    for name in METRICS:
        for kind in chosen.kinds:
            path = folder / f"{name}-{kind}.json"
            if not path.exists():
                store.write_json(path, run(name, kind, seed, chosen, tokens, device))
            runs[name, kind] = store.read_json(path)
            stage.log.info("%s, %s, seed %d: %.4g", name, kind, seed, runs[name, kind]["value"])
    return list(rows(runs, chosen, seed))


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--tokens", type=Path, nargs=2, required=True, help="folders of training and validation tokens")
    parser.add_argument("--options", default="{}", help="JSON: kinds, order, language, steps, batches")
    parser.add_argument("--seed", type=int, default=0, help="of weights, samples and order")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--folder", type=Path, required=True, help="runs that have ended, until all have")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to make")
    arguments = parser.parse_args(argv)
    chosen = plan(stage.options(arguments.options))
    found = ablation(arguments.tokens, chosen, arguments.seed, arguments.folder, stage.device(arguments.device))
    store.write_parquet(arguments.output, measurements.table(found))
    shutil.rmtree(arguments.folder)


if __name__ == "__main__":
    sys.exit(stage.run(main))
