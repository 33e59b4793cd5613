"""How a spiking transformer is told of order: each kind of position on each task, the mean and its 95 % interval.

    python -m pipeline.plots.snn_positions --table results/snn_ablation.csv --output results/figures/snn_ablation

The shaded side of `none` is the worse one. Makes a PNG and an SVG.
"""

import csv
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline import stage
from pipeline.plots import style
from pipeline.stage import UserError

TITLE = "What tells a spiking transformer of order"
NOTHING = "none"
LINE_INCHES = 0.34
WORSE = "#F3F3F3"


class Task(NamedTuple):
    """`better`: to the right (1) or to the left (-1); `chance`: what guessing gets, None where there is no such."""

    metric: str
    label: str
    better: int
    chance: float | None


TASKS = {
    "order": Task("accuracy", "which of two marks came first: answered right", 1, 0.5),
    "language": Task("validation_bits", "language: bits a token, held out", -1, None),
}


class Kind(NamedTuple):
    """Without an interval, of one seed, `low` and `high` are nan."""

    mean: float
    low: float
    high: float


def read(path: Path) -> dict[str, dict[str, Kind]]:
    """Task -> kind of position -> what was measured, in the file's order. Raises UserError for another file."""
    found: dict[str, dict[str, Kind]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                task = TASKS.get(row["task"])
                if task and row["metric"] == task.metric:
                    ends = (float(row[name] or "nan") for name in ("value", "value_t_low", "value_t_high"))
                    found.setdefault(row["task"], {})[row["variant"]] = Kind(*ends)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: is not snn_ablation.csv ({type(error).__name__}: {error})") from None
    return found


def snn_positions(tasks: Mapping[str, Mapping[str, Kind]]) -> Figure:
    with style.paper():
        if not tasks:
            return style.empty_figure(TITLE)
        lines = list(dict.fromkeys(kind for found in tasks.values() for kind in found))
        figure = style.sheet(TITLE, 1.6 + 3.9 * len(tasks), 1.7 + LINE_INCHES * len(lines))
        for axes, (task, found) in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks.items(), strict=True):
            _draw(axes, TASKS[task], found, lines)
            axes.set_yticks(range(len(lines)), [line.replace("_", " ") for line in lines])
            axes.tick_params(axis="y", length=0, labelleft=task == next(iter(tasks)))
        keys = [
            Line2D([], [], label="mean and its 95 % interval", color=style.BLUE, marker="o", markersize=5),
            Line2D([], [], label="chance", color=style.VERMILION, linestyle=":"),
            Line2D([], [], label="without positions", color=style.GREY, linewidth=0.9),
        ]
        figure.legend(handles=keys, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
        return figure


def _draw(axes: Axes, task: Task, found: Mapping[str, Kind], lines: Sequence[str]) -> None:
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.set_xlabel(task.label)
    for place, line in enumerate(lines):
        if line in found:
            mean, low, high = found[line]
            if math.isfinite(low + high):
                axes.hlines(place, low, high, color=style.BLUE, linewidth=1.6, zorder=3)
            axes.plot(mean, place, "o", color=style.BLUE, markersize=5, zorder=4)
    if task.chance is not None:
        axes.axvline(task.chance, color=style.VERMILION, linestyle=":", zorder=2)
    if NOTHING in found:
        without = found[NOTHING].mean
        axes.axvline(without, color=style.GREY, linewidth=0.9, zorder=2)
        left, right = axes.get_xlim()
        axes.axvspan(*((left, without) if task.better > 0 else (without, right)), color=WORSE, linewidth=0, zorder=0)
        axes.set_xlim(left, right)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--table", type=Path, required=True, help="results/snn_ablation.csv")
    parser.add_argument("--output", type=Path, required=True, help="figure to make, without suffix")
    arguments = parser.parse_args(argv)
    for path in style.write(snn_positions(read(arguments.table)), arguments.output):
        stage.log.info("wrote %s", path)


if __name__ == "__main__":
    sys.exit(stage.run(main))
