"""How training went, by step: a row a run, with the loss in training, errors held out, scores held out and, of spiking
networks, how often the neurons of each layer fire.

    python -m pipeline.plots.training_curves --logs results/training/*/*.parquet --output results/figures/curves

Takes the logs that the trainer writes (pipeline/training/log.py), named by folder and file. The dashed line is the step
where a held-out error is least. Makes a PNG and an SVG.
"""

import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline import stage
from pipeline.plots import style
from pipeline.stage import UserError
from pipeline.store import read_parquet

TITLE = "Training"
PREFIX = "held_out_"
ROW_INCHES = 2.3
LABELS = ("loss in training", "error, held out", "score, held out", "spikes a step")
ERRORS = ("loss", "error", "mse", "bits")
RATES = f"{PREFIX}rate"
COLOURS = (style.BLUE, style.VERMILION, style.GREEN, style.ORANGE, style.PURPLE, style.SKY)

Run = Mapping[str, np.ndarray]
"""A log: column to values float64 [rows], NaN where nothing was measured."""


def training_curves(runs: Mapping[str, Run]) -> Figure:
    """Runs by name, each with `step`, the loss and its parts, and held-out metrics."""
    with style.paper():
        if not runs:
            return style.empty_figure(TITLE)
        figure = style.sheet(TITLE, style.WIDTH_INCHES, 0.8 + ROW_INCHES * len(runs))
        drawn = {name: _columns(run) for name, run in runs.items()}
        shown = _shown(list(drawn.values()))
        panels = figure.subplots(len(runs), len(shown[0]), squeeze=False)
        for (name, run), line, here in zip(runs.items(), panels, shown, strict=True):
            line[0].set_title(name, pad=16)
            for axes, n in zip(line, here, strict=True):
                _draw(axes, run, drawn[name][n], LABELS[n])
        for axes in panels[-1]:
            axes.set_xlabel("steps")
        return figure


def _shown(drawn: Sequence[Sequence[list[str]]]) -> list[list[int]]:
    """Which panels each run has, of LABELS, as many of each. Errors and scores share a place where no run has both."""
    rates = [3] if any(columns[3] for columns in drawn) else []
    if any(columns[1] and columns[2] for columns in drawn):
        return [[0, 1, 2, *rates] for _ in drawn]
    return [[0, 2 if columns[2] else 1, *rates] for columns in drawn]


def _columns(run: Run) -> tuple[list[str], ...]:
    """What each of the panels draws."""
    losses = [column for column in run if column == "loss" or column.startswith("loss_")]
    held = [column for column in run if column.startswith(PREFIX)]
    rates = [column for column in held if column.startswith(RATES)]
    errors = [column for column in held if column.endswith(ERRORS) and column not in rates]
    scores = [column for column in held if column not in (*errors, *rates)]
    # Of one part the loss is a multiple: it is enough.
    return ["loss"] if len(losses) == 2 else losses, errors, scores, rates


def _draw(axes: Axes, run: Run, columns: Sequence[str], label: str) -> None:
    """Each column's measured values, named above the panel; of a single error held out also where it is least."""
    if not columns:
        axes.set_visible(False)
        return
    axes.set_ylabel(label)
    for column, colour in zip(columns, itertools.cycle(COLOURS)):
        there = np.isfinite(run[column])
        name = column.removeprefix(PREFIX).replace("similarity_", "").replace("_", " ")
        axes.plot(run["step"][there], run[column][there], color=colour, linewidth=1.2, label=name)
    if label == LABELS[3]:  # too many to be named
        axes.set_title(f"{len(columns)} layers", fontsize=7, pad=3)
        return
    if label == LABELS[1] and len(columns) == 1:
        best = run["step"][np.nanargmin(run[columns[0]])]
        axes.axvline(best, color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.legend(
        **{
            "frameon": False,
            "fontsize": 7,
            "loc": "lower left",
            "bbox_to_anchor": (-0.05, 0.97),
            "ncols": len(columns),
        },
        **{"handlelength": 1.0, "columnspacing": 0.9, "handletextpad": 0.4, "borderaxespad": 0.0},
    )


def read(path: Path) -> dict[str, np.ndarray]:
    """A log. Raises UserError if it is missing, broken, or no log of a run."""
    table = read_parquet(path)
    if missing := sorted({"step", "loss"} - set(table.column_names)):
        raise UserError(f"{path}: no log of a training run: it has no column {missing[0]!r}")
    return {name: table[name].to_numpy().astype(np.float64) for name in table.column_names}


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--logs", type=Path, nargs="*", default=[], help="Parquet files of the trainer")
    parser.add_argument("--output", type=Path, required=True, help="figure to make, without suffix")
    arguments = parser.parse_args(argv)
    runs = {f"{path.parent.name}, {path.stem}": read(path) for path in arguments.logs}
    for path in style.write(training_curves(runs), arguments.output):
        stage.log.info("wrote %s", path)


if __name__ == "__main__":
    sys.exit(stage.run(main))
