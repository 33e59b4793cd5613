"""Stage: start the processes of a run on this machine, as `torchrun` would, and end with the first error in one line.

    python -m pipeline.training.launch --processes 2 pipeline.training.run --module ...

Each process gets RANK, LOCAL_RANK and WORLD_SIZE. When one dies, however it dies, the others are killed and its error
is the one that is told; when this process dies, they end too. They find each other through a file, so that no port has
to be free. `torchrun -m <module> ...` does as well, on many machines; but it adds pages of its own to an error.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline import stage
from pipeline.stage import UserError

POLL_S = 0.05


def start(module: str, arguments: Sequence[str], processes: int) -> None:
    """Run `python -m module arguments` in so many processes. Raises UserError with the first error if one fails."""
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        running = [_start_one(module, arguments, rank, processes, folder) for rank in range(processes)]
        try:
            while True:
                codes = [process.poll() for process in running]
                for rank, code in enumerate(codes):
                    if code:
                        raise UserError(_error(rank, code, processes, folder))
                if None not in codes:
                    return
                time.sleep(POLL_S)
        finally:
            for process in running:
                process.kill()
                process.wait()
            if running[0].returncode < 0:  # killed, maybe in a line of its progress: what follows has its own
                print(file=sys.stderr)


def _start_one(module: str, arguments: Sequence[str], rank: int, count: int, folder: str) -> subprocess.Popen[bytes]:
    environment = {
        # Unless they are set:
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count)),
        "TORCH_CPP_LOG_LEVEL": "ERROR",  # each process would warn that it left no parameter unused
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "PIPELINE_LAUNCH_FOLDER": folder,
    }
    if rank:  # one process tells what happens
        environment["PIPELINE_LOG_LEVEL"] = "ERROR"
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)


def _error(rank: int, code: int, count: int, folder: str) -> str:
    """What became of a process, in its own words if it left any."""
    told = Path(folder, f"rank-{rank}")
    if told.exists():
        return told.read_text(encoding="utf-8")
    how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
    return f"process {rank} of {count} {how}" + ("; the others were stopped" if count > 1 else "")


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--processes", type=int, default=1, help="how many")
    parser.add_argument("module", help="dotted name of the stage that each of them runs")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the stage's own")
    arguments = parser.parse_args(argv)
    if arguments.processes < 1:
        raise UserError(f"--processes: {arguments.processes} is below 1")
    start(arguments.module, arguments.arguments, arguments.processes)


if __name__ == "__main__":
    sys.exit(stage.run(main))
