"""The processes of a run: who this one is, and what they tell each other.

Started by `torchrun` or by `launch`, a process joins the others (gloo on the CPU, nccl on GPUs); started alone, it is
the only one. Nothing here is pickled: processes exchange tensors only.

Gathering with gradients. All processes gather rows and each computes a value L_r from all of them. Backward gives
process s the sum over r of dL_r / d(rows of s), the adjoint of the gathering. With gradients averaged over processes
the parameters get d(mean of L_r): as if one process had held all rows.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline import stage
from pipeline.stage import UserError
from pipeline.training.task import alone

PATIENCE_S = 5  # for whoever started the processes to stop this one, when another has died
TIMEOUT_MINUTES = 60  # the longest that the others wait for the first process to evaluate


@dataclass(frozen=True)
class Processes:
    """Process `rank` of `count`, and the device it computes on. Alone, nothing is sent."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def rows(self, x: Tensor) -> Tensor:
        """The rows of all processes, [count n, ...] in their order, with gradients. Each has the same n."""
        return alone(x) if self.count == 1 else _Gather.apply(x, self.count, self.rank)

    def each(self, x: Tensor) -> list[Tensor]:
        """The tensor of every process; they have the same shape and type. On the CPU."""
        if self.count == 1:
            return [x.cpu()]
        sent = x.to(self.device).contiguous()
        received = [torch.empty_like(sent) for _ in range(self.count)]
        dist.all_gather(received, sent)
        return [one.cpu() for one in received]

    def mean(self, x: Tensor) -> Tensor:
        """The mean over processes."""
        if self.count > 1:
            x = x.to(self.device)
            dist.all_reduce(x)
            x /= self.count
        return x

    def first(self, x: Tensor) -> Tensor:
        """What the first process has; of the others only type and shape count. On the CPU."""
        if self.count > 1:
            x = x.to(self.device)
            dist.broadcast(x, 0)
        return x.cpu()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int, rank: int) -> Tensor:
        ctx.mine = slice(rank * len(x), (rank + 1) * len(x))
        received = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(count)]
        dist.all_gather(received, x.contiguous())
        return torch.cat(received)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # A copy: what was handed in may be someone else's as well. Summed whole, for gloo has no reduce-scatter.
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.mine], None, None


@contextmanager
def joined(device: str = "auto") -> Iterator[Processes]:
    """The processes of this run, for the time of the block; `device` is auto, cpu or cuda.

    An error that is a consequence of another process's death waits until that one's own has been seen. Under `launch`
    an error is left for it to tell, and the process exits with 1. Raises UserError if there are fewer GPUs than
    processes on this machine.
    """
    kind = stage.device(device)
    if "RANK" not in os.environ:
        yield Processes(device=torch.device(kind))
        return
    rank, count, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    errors = os.environ.get("PIPELINE_LAUNCH_FOLDER")
    if errors:
        _end_with_the_launcher()
    try:
        if kind == "cuda":
            if local >= torch.cuda.device_count():
                raise UserError(f"process {rank} finds no GPU of its own: this machine has {torch.cuda.device_count()}")
            torch.cuda.set_device(local)
        dist.init_process_group(
            "nccl" if kind == "cuda" else "gloo",
            init_method=f"file://{errors}/rendezvous" if errors else "env://",
            rank=rank,
            world_size=count,
            timeout=timedelta(minutes=TIMEOUT_MINUTES),
        )
        yield Processes(rank, count, torch.device("cuda", local) if kind == "cuda" else torch.device("cpu"))
        dist.destroy_process_group()
    except (UserError, OSError) as error:
        _tell(rank, errors, error)
        raise
    except RuntimeError as error:
        if not _consequence(error):
            raise
        time.sleep(PATIENCE_S)
        lost = UserError(f"another process of the run has ended ({str(error).splitlines()[0]})")
        _tell(rank, errors, lost)
        raise lost from None


def _consequence(error: RuntimeError) -> bool:
    """Whether an error says that another process is gone: a collective that failed, not a fault in this one."""
    text = str(error)
    return isinstance(error, dist.DistError) or "gloo" in text or "NCCL" in text or "Connection closed" in text


def _tell(rank: int, folder: str | None, error: Exception) -> None:
    """Under `launch`: leave the error in a file and exit; of all that fail it prints one."""
    if folder:
        Path(folder, f"rank-{rank}").write_text(str(error), encoding="utf-8")
        raise SystemExit(1)


def _end_with_the_launcher() -> None:
    """End this process when `launch` has ended, however: it holds the other end of this process's standard input."""

    def wait() -> None:
        os.read(0, 1)  # nothing is ever sent: this returns when the other end is closed
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
