"""The trainer: steps, evaluations, checkpoints.

    train(model, data, loss, settings, folder, held_out)

AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) on a weighted sum of named losses, in one process or in many that
hold the same model and average their gradients (DistributedDataParallel, Li et al. 2020, arXiv:2006.15704).

What is exact. The sequence of global batches is the same for any number of processes, and so is the gradient but for
the order of sums (`task` says what a loss has to do for that). A run that was killed goes on from its last checkpoint;
on the CPU, with as many threads and processes, everything from there on is bit for bit what it would have been.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from tqdm import tqdm

from pipeline import stage
from pipeline.stage import UserError
from pipeline.store import locked
from pipeline.training import checkpoint, early_stopping, precision, random_state
from pipeline.training.adamw import AdamW
from pipeline.training.distributed import Processes
from pipeline.training.early_stopping import Stopping
from pipeline.training.log import Log
from pipeline.training.objective import Objective
from pipeline.training.sampler import Batches, positions
from pipeline.training.schedule import learning_rate
from pipeline.training.settings import Settings
from pipeline.training.task import Array, Context, HeldOut, Loss, Source

# What the header of a checkpoint to go on from holds.
RESUMED: dict[str, tuple[type, ...]] = {
    "configuration": (dict,),
    "step": (int,),
    "epoch": (int,),
    "batch": (int,),
    "seconds": (int, float),
    "stopping": (dict,),
    "scaler": (dict,),
    "ended_by": (str, type(None)),
    "processes": (int,),
}


class Result(NamedTuple):
    """How a run ended: by its `steps` or by `patience`, after how many steps, and what was best."""

    ended_by: str
    steps: int
    best: float | None
    best_step: int | None
    seconds: float


def train(
    model: nn.Module,
    data: Source,
    loss: Loss,
    settings: Settings,
    folder: str | Path,
    held_out: HeldOut | None = None,
    processes: Processes | None = None,
    facts: Mapping[str, Any] | None = None,
    name: str = "train",
    lasting: bool = True,
) -> Result:
    """Train `model` in place; it is left with the best weights by `settings.metric`, or the last ones if that is null.

    `folder` gets last.safetensors and best.safetensors (checkpoints), log/ and, at the end, log.parquet; all processes
    have to see it. A run that finds its last checkpoint there goes on from it, one that has ended gives its result.
    Global random generators are seeded. `processes` is what `distributed.joined` gave (one if None); `facts` are things
    (JSON) that a checkpoint must have in common with the run that goes on from it. The progress bar shows `name`; a
    folder that is not `lasting` (it is gone with the run) is in no message.

    Raises UserError, in every process: for fewer samples than a batch; a checkpoint of another configuration; a shard
    that vanishes; a loss or gradient that is not finite, by the name of the part (the last checkpoint stays).
    """
    processes = processes or Processes()
    folder = Path(folder)
    with locked(folder / ".lock", str(folder)) if processes.rank == 0 else nullcontext():
        processes.first(torch.zeros(1))  # the others read nothing before the first has the folder for itself
        return _Run(model, data, loss, settings, folder, held_out, processes, facts or {}, name, lasting).run()


class _Run:
    def __init__(
        self,
        model: nn.Module,
        data: Source,
        loss: Loss,
        settings: Settings,
        folder: Path,
        held_out: HeldOut | None,
        processes: Processes,
        facts: Mapping[str, Any],
        name: str,
        lasting: bool,
    ) -> None:
        if settings.metric is not None and held_out is None:
            raise UserError(f"settings: metric is {settings.metric}, but nothing is held out")
        precision.check(settings.precision, processes.device)
        self.settings, self.folder, self.held_out, self.processes = settings, folder, held_out, processes
        self.name, self.lasting = name, lasting
        self.mine = positions(settings.batch, settings.accumulate, processes.rank, processes.count)
        self.batches = Batches(data, settings.batch, settings.window, settings.seed)
        self.model = model.to(processes.device, precision.parameters(settings.precision))
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        whole = Objective(model, loss, settings.weights)
        self.counted = whole.counted
        self.objective: nn.Module = whole
        if processes.count > 1:
            # Looking for unused parameters lets a loss leave some out (a prefix drawn for this step), and it keeps the
            # gradients' places in the messages, so that sums of many processes are the same after a resume.
            self.objective = DistributedDataParallel(whole, find_unused_parameters=True)
        self.optimizer = AdamW(
            self.parameters,
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            fused=True,  # one pass over the parameters for all of a step's arithmetic
        )
        self.scaler = precision.scaler(settings.precision, processes.device)
        self.log = Log(folder)
        self.configuration = {
            "settings": settings.to_json(),
            "data": data.identity,
            "parameters": {name: list(x.shape) for name, x in model.state_dict().items()},
            "facts": dict(facts),
        }
        self.step, self.epoch, self.batch = 0, 0, 0  # steps made; the batch that comes next
        self.seconds = 0.0
        self.stopping = Stopping()
        self.ended_by: str | None = None

    def run(self) -> Result:
        if not self._resume():
            if self.processes.rank == 0:
                self.log.begin()
            random_state.seed(self.settings.seed, self.processes.rank)
            row = {"step": 0, "epoch": 0.0, "seconds": 0.0}
            self._save(self._evaluate(row), row)
        if self.ended_by is None:
            self._steps()
        if self.settings.metric is not None:
            best = checkpoint.read(self.folder / "best.safetensors")
            checkpoint.load_model(self.folder / "best.safetensors", self.model, best.part("model"))
        if self.processes.rank == 0:
            self.log.merge()
        self.processes.first(torch.zeros(1))  # none leaves before all is written and read
        assert self.ended_by is not None
        return Result(self.ended_by, self.step, self.stopping.best, self.stopping.best_step, self.seconds)

    # --- steps -----------------------------------------------------------------------------------------------------

    def _steps(self) -> None:
        """Train until the steps are made or patience has ended."""
        settings, rows_ahead = self.settings, self._rows()
        steps = range(self.step, settings.steps)
        bar = stage.progress(steps, self.name, len(steps), "step") if self.processes.rank == 0 else steps
        began, before = time.perf_counter(), self.seconds
        training_s, since = 0.0, self.step
        for _ in bar:
            started = time.perf_counter()
            rate = learning_rate(self.step, settings)
            parts, norm = self._step(next(rows_ahead), rate)
            training_s += time.perf_counter() - started
            self.step += 1
            last = self.step == settings.steps
            due = last or self.step % settings.evaluate_every == 0
            if not due and self.step % settings.log_every and self.step % settings.checkpoint_every:
                continue
            total = sum(settings.weights[name] * value for name, value in parts.items())
            row: dict[str, Any] = {
                "step": self.step,
                "epoch": self.epoch + self.batch / self.batches.per_epoch,
                "seconds": before + time.perf_counter() - began,
                "loss": total,
                **{f"loss_{name}": value for name, value in parts.items()},
                "learning_rate": rate,
                "gradient_norm": norm,
                "samples_per_s": (self.step - since) * settings.batch / training_s,
            }
            training_s, since = 0.0, self.step
            better = self._evaluate(row) if due else False
            self.seconds = row["seconds"]
            if isinstance(bar, tqdm):
                held = [f"{key.removeprefix('held_out_')} {row[key]:.4g}" for key in row if key.startswith("held_out_")]
                bar.set_postfix_str(", ".join([f"loss {total:.4g}", *held]), refresh=False)
            if early_stopping.exhausted(self.stopping, settings):
                self.ended_by = "patience"
            elif last:
                self.ended_by = "steps"
            if due or self.step % settings.checkpoint_every == 0:
                self._save(better, row)
            elif self.processes.rank == 0:
                self.log.add(row)
            if self.ended_by:
                break
        if isinstance(bar, tqdm):
            bar.close()

    def _rows(self) -> Iterator[Array]:
        """This process's rows of every batch to come; `epoch` and `batch` say which one is next."""
        while True:
            for rows in self.batches.epoch(self.epoch, self.batch, self.mine.ravel()):
                self.batch += 1
                yield rows
            self.epoch, self.batch = self.epoch + 1, 0

    def _step(self, rows: Array, rate: float) -> tuple[dict[str, float], float]:
        """One step of the optimizer. Returns the loss's parts, means over the batch, and the length of the gradient."""
        settings, processes = self.settings, self.processes
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        values = torch.zeros(len(self.counted), dtype=torch.float64, device=processes.device)
        for number, part in enumerate(np.split(rows, settings.accumulate)):
            waits = number + 1 < settings.accumulate and isinstance(self.objective, DistributedDataParallel)
            # Gradients are averaged once, with the last part.
            with self.objective.no_sync() if waits else nullcontext():  # type: ignore[operator]
                with precision.autocast(settings.precision, processes.device):
                    total, of_part = self.objective(self._tensor(part), self._context(number, len(part)))
                self.scaler.scale(total / settings.accumulate).backward()
            values += of_part / settings.accumulate
        parts = dict(zip(self.counted, processes.mean(values).tolist(), strict=True))
        for name, value in parts.items():
            if not math.isfinite(value):
                self._fail(f"the part {name!r} of the loss is {value}")
        self.scaler.unscale_(self.optimizer)
        norm = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        if not self.scaler.is_enabled() and not math.isfinite(norm):
            self._fail(f"the gradient is {float(norm)}, though all parts of the loss are finite")
        if settings.clip_norm is not None:
            clip_grads_with_norm_(self.parameters, settings.clip_norm, norm)
        self.scaler.step(self.optimizer)  # leaves out a step whose scaled float16 gradients overflowed
        self.scaler.update()
        return parts, float(norm)

    def _tensor(self, rows: Array) -> Tensor:
        x = torch.from_numpy(rows).to(self.processes.device, non_blocking=True)
        return x.to(precision.parameters(self.settings.precision)) if x.is_floating_point() else x

    def _context(self, part: int, rows: int) -> Context:
        """What the loss of this step's accumulated part `part` is told."""
        processes, settings = self.processes, self.settings
        drawn = np.random.SeedSequence([settings.seed, self.step, part]).generate_state(1, np.uint64)
        return Context(
            step=self.step,
            steps=settings.steps,
            gather=processes.rows,
            generator=torch.Generator(processes.device).manual_seed(int(drawn[0])),
            rows=rows * processes.count,
            mine=slice(processes.rank * rows, (processes.rank + 1) * rows),
        )

    def _fail(self, what: str) -> None:
        if self.processes.rank == 0:
            self.log.flush()
        kept = f"; the last good checkpoint is {self._last}" if self.lasting and self._last.exists() else ""
        raise UserError(f"after step {self.step}: {what}{kept}")

    # --- evaluation and checkpoints --------------------------------------------------------------------------------

    def _evaluate(self, row: dict[str, Any]) -> bool:
        """Put the held-out metrics into `row`. Returns whether the one that chooses is the best so far."""
        if self.held_out is None:
            return False
        metric = self.settings.metric
        values = torch.zeros(1, dtype=torch.float64)
        if self.processes.rank == 0:
            self.model.eval()
            with torch.no_grad():
                measured = dict(self.held_out(self.model))
            row |= {f"held_out_{name}": float(value) for name, value in measured.items()}
            if metric is not None and metric not in measured:
                known = ", ".join(sorted(measured))
                raise UserError(f"settings: metric {metric!r} is not one of those held out: {known}")
            values[0] = row.get(f"held_out_{metric}", 0.0)
        if metric is None:
            return False
        value = float(self.processes.first(values))  # all decide alike
        if not math.isfinite(value):
            self._fail(f"the held-out metric {metric!r} is {value}")
        self.stopping = early_stopping.update(self.stopping, value, self.step, self.settings)
        return self.stopping.best_step == self.step

    @property
    def _last(self) -> Path:
        return self.folder / "last.safetensors"

    def _save(self, best: bool, row: dict[str, Any]) -> None:
        """The log up to here, then the checkpoint: what is logged behind the last checkpoint is logged again."""
        mine = random_state.capture()
        gathered = {name: self.processes.each(x) for name, x in mine.items()}
        if self.processes.rank != 0:
            return
        self.log.add(row)
        self.log.flush()
        random_states = [{name: each[rank] for name, each in gathered.items()} for rank in range(self.processes.count)]
        tensors = checkpoint.tensors_of(self.model, self.optimizer, random_states)
        facts = {
            "configuration": self.configuration,
            "step": self.step,
            "epoch": self.epoch,
            "batch": self.batch,
            "seconds": self.seconds,
            "stopping": self.stopping._asdict(),
            "scaler": self.scaler.state_dict(),
            "ended_by": self.ended_by,
            "processes": self.processes.count,
        }
        if best:
            checkpoint.write(self.folder / "best.safetensors", tensors, facts)
        checkpoint.write(self._last, tensors, facts)

    def _resume(self) -> bool:
        """Take up the last checkpoint. Returns whether there is one."""
        if not self._last.exists():
            return False
        saved = checkpoint.read(self._last)
        unless = f"no checkpoint to go on from; remove {self.folder} to start anew"
        facts = {key: checkpoint.fact(self._last, saved.facts, unless, key, *kinds) for key, kinds in RESUMED.items()}
        checkpoint.check_configuration(self._last, facts["configuration"], self.configuration)
        checkpoint.load_model(self._last, self.model, saved.part("model"))
        rank = self.processes.rank
        try:
            checkpoint.load_optimizer(saved, self.optimizer)
            self.scaler.load_state_dict(facts["scaler"])
            self.stopping = Stopping(**facts["stopping"])
            if rank < facts["processes"]:
                random_state.restore(saved.part(f"random.{rank}"))
        except (KeyError, TypeError, ValueError) as error:  # a part of it is missing, or is something else
            raise UserError(f"{self._last}: {unless} ({type(error).__name__}: {error})") from None
        self.step, self.epoch, self.batch = facts["step"], facts["epoch"], facts["batch"]
        self.seconds, self.ended_by = facts["seconds"], facts["ended_by"]
        if rank >= facts["processes"]:
            random_state.seed(self.settings.seed + self.step, rank)
        if rank == 0:
            if facts["processes"] != self.processes.count:
                now, then = self.processes.count, facts["processes"]
                stage.log.warning("%s: %d processes go on for %d: not bit for bit", self._last, now, then)
            stage.log.info("%s: goes on after step %d of %d", self._last, self.step, self.settings.steps)
            self.log.resume(self.step)
        return True
