"""Stage: train the model that a module brings, in one process or in many.

    python -m pipeline.training.run --module pipeline.training.autoencoder --inputs data/embeddings/minilm.parquet \\
        --options '{"code": 64}' --settings '{"steps": 2000, "batch": 256, "weights": {"reconstruction": 1}}' \\
        --folder results/training/minilm/.autoencoder.unfinished --output results/training/minilm/autoencoder

Takes   a module with `task(inputs, options) -> Task` (pipeline/training/task.py), and settings
        (pipeline/training/settings.py) as JSON.
Makes   <output>.safetensors, the best weights, with module, options, settings and result in the header, and
        <output>.parquet, the log. --folder holds the checkpoints meanwhile: a run that was killed goes on from there
        with the same command; it is removed when the outputs are whole.

Behind `python -m pipeline.training.launch --processes 2` it runs in two processes on this machine, behind `torchrun -m`
on many that share --folder.
"""

import importlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import torch

from pipeline import stage, store
from pipeline.stage import UserError
from pipeline.training import checkpoint, settings
from pipeline.training.distributed import Processes, joined
from pipeline.training.loop import train
from pipeline.training.task import Task


def make_task(module: str, inputs: Sequence[Path], options: dict) -> Task:
    """The task of a module. Raises UserError for a module that there is not, or that has none."""
    if not all(name.isidentifier() for name in module.split(".")):
        raise UserError(f"--module: {module!r} is not the dotted name of a module")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise UserError(f"--module: there is no module {module!r}") from None
    if not hasattr(found, "task"):
        raise UserError(f"--module: {module} has no task(inputs, options)")
    return found.task(inputs, options)


def run(
    module: str,
    inputs: Sequence[Path],
    options: dict,
    chosen: settings.Settings,
    folder: Path,
    output: Path,
    processes: Processes,
    name: str = "train",
    lasting: bool = True,
) -> None:
    """Train, and write `output`.safetensors and `output`.parquet; then remove `folder`.

    `name` and `lasting` as of `train`.
    """
    torch.manual_seed(chosen.seed)  # the initial weights: the same in all processes
    task = make_task(module, inputs, options)
    facts = {"module": module, "options": options}
    result = train(task.model, task.data, task.loss, chosen, folder, task.held_out, processes, facts, name, lasting)
    if processes.rank == 0:
        header = {
            **facts,
            "settings": chosen.to_json(),
            "result": result._asdict(),
            "data": task.data.identity,
            "versions": store.versions("torch", "numpy", "safetensors"),
        }
        weights = {f"model.{name}": x for name, x in task.model.state_dict().items()}
        store.write_parquet(store.with_ending(output, ".parquet"), pq.read_table(folder / "log.parquet"))
        checkpoint.write(store.with_ending(output, ".safetensors"), weights, header)
        shutil.rmtree(folder)
        best = "" if result.best is None else f", best {chosen.metric} {result.best:.5g} after step {result.best_step}"
        stage.log.info("trained %d steps in %.1f s (%s)%s", result.steps, result.seconds, result.ended_by, best)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--module", required=True, help="dotted name of the module that has the task")
    parser.add_argument("--inputs", type=Path, nargs="+", required=True, help="Parquet files")
    parser.add_argument("--options", default="{}", help="the task's own, as JSON")
    parser.add_argument("--settings", required=True, help="how to train, as JSON")
    parser.add_argument("--folder", type=Path, required=True, help="checkpoints, until the run has ended")
    parser.add_argument("--output", type=Path, required=True, help="path of the two outputs, without suffix")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--name", default="train", help="what the progress bar shows")
    parser.add_argument("--temporary", action="store_true", help="the folder goes with the run: no message names it")
    arguments = parser.parse_args(argv)
    with joined(arguments.device) as processes:
        chosen = settings.from_json(stage.options(arguments.settings))
        options = stage.options(arguments.options)
        where = arguments.folder, arguments.output
        how = arguments.name, not arguments.temporary
        run(arguments.module, arguments.inputs, options, chosen, *where, processes, *how)


if __name__ == "__main__":
    sys.exit(stage.run(main))
