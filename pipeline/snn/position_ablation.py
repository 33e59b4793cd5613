"""Stage: how a spiking transformer is told of order, ablated: each kind of `positions`, on two tasks, with equal seeds.

Takes   the folders of training and validation language tokens.
Makes   a Parquet file of rows of `measurements`: variant is the kind of position; task `order` (order_task; metric
        `accuracy`) and `language` (metric `validation_bits`), a row a seed; and for each the mean over seeds with its
        95 % interval by Student's t, `<metric>_mean`, `_low`, `_high`, with seed -1.

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
from scipy import stats

from pipeline import stage, store
from pipeline.snn import language, measurements, operations, order_task, positions, spikformer
from pipeline.stage import UserError, check_keys
from pipeline.training.loop import train
from pipeline.training.settings import Settings

Row = dict[str, Any]


class Plan(NamedTuple):
    """The options. `order` and `language` are options of the networks, the `_steps` of training."""

    seeds: int = 5
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
    language_steps: int = 150
    language_batch: int = 32
    learning_rate: float = 5e-3


def plan(given: Mapping[str, Any]) -> Plan:
    """Raises UserError for an unknown key, a number that cannot be, and a kind that there is not."""
    check_keys("options", given, Plan._fields)
    found = Plan(**given)
    for name in ("seeds", "order_steps", "order_batch", "language_steps", "language_batch"):
        if type(value := getattr(found, name)) is not int or value < 1:
            raise UserError(f"options: {name} must be a whole number of at least 1, not {value!r}")
    if unknown := [kind for kind in found.kinds if kind not in positions.KINDS]:
        raise UserError(f"options: kinds: {unknown[0]!r} is not one of {', '.join(positions.KINDS)}")
    return found


def run(name: str, kind: str, seed: int, chosen: Plan, tokens: Sequence[Path]) -> dict[str, float]:
    """Train one network on the task `name`; its `value` on held-out samples, `spike_rate` and `parameters`."""
    own = {"position": kind, "decay": "none", "dropout": 0.0}
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
        train(task.model, task.data, task.loss, settings, folder, name=f"{name} {kind} {seed}", lasting=False)
    task.model.eval()
    with torch.no_grad():
        found = task.held_out(task.model)
    rates = [value for key, value in found.items() if key.startswith("rate_")]
    return {
        "value": found[metric],
        "spike_rate": float(np.mean(rates)),
        "parameters": float(operations.parameters(task.model)),
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % of the mean, by Student's t over seeds; the values themselves where there is one."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, mean
    reach = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return mean - reach, mean + reach


METRICS = {"order": "accuracy", "language": "validation_bits"}


def rows(runs: Mapping[tuple[str, str, int], Mapping[str, float]], chosen: Plan) -> Iterator[Row]:
    """Of runs by task, kind and seed."""
    for name, metric in METRICS.items():
        steps = {"order": chosen.order, "language": chosen.language}[name].get("timesteps", language.How().timesteps)
        for kind in chosen.kinds:
            keys = {"network": "spikformer", "variant": kind, "size": "small", "task": name, "timesteps": steps}
            found = {seed: runs[name, kind, seed] for seed in range(chosen.seeds)}
            for seed, one in found.items():
                yield {**keys, "metric": metric, "seed": seed, **one}
            values = [one["value"] for one in found.values()]
            low, high = interval(values)
            for suffix, value in (("mean", float(np.mean(values))), ("low", low), ("high", high)):
                yield {**keys, "metric": f"{metric}_{suffix}", "seed": -1, "value": value}


def ablation(tokens: Sequence[Path], chosen: Plan, folder: Path) -> list[Row]:
    """All runs, those that `folder` has taken from there. Raises UserError if it is of another plan."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = {**chosen._asdict(), "kinds": list(chosen.kinds), "order": dict(chosen.order)}
    asked |= {"language": dict(chosen.language), "tokens": [str(path) for path in tokens]}
    if not (folder / "plan.json").exists():
        store.write_json(folder / "plan.json", asked)
    elif store.read_json(folder / "plan.json") != asked:
        raise UserError(f"{folder}: has runs of other options; remove it to start anew")
    runs = {}
    for seed in range(chosen.seeds):
        for name in METRICS:
            for kind in chosen.kinds:
                path = folder / f"{name}-{kind}-{seed}.json"
                if not path.exists():
                    store.write_json(path, run(name, kind, seed, chosen, tokens))
                runs[name, kind, seed] = store.read_json(path)
                stage.log.info("%s, %s, seed %d: %.4g", name, kind, seed, runs[name, kind, seed]["value"])
    return list(rows(runs, chosen))


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--tokens", type=Path, nargs=2, required=True, help="folders of training and validation tokens")
    parser.add_argument("--options", default="{}", help="JSON: seeds, kinds, order, language, steps, batches")
    parser.add_argument("--folder", type=Path, required=True, help="runs that have ended, until all have")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to make")
    arguments = parser.parse_args(argv)
    found = ablation(arguments.tokens, plan(stage.options(arguments.options)), arguments.folder)
    store.write_parquet(arguments.output, measurements.table(found))
    shutil.rmtree(arguments.folder)


if __name__ == "__main__":
    sys.exit(stage.run(main))
