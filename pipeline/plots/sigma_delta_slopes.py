"""Error of sigma-delta distances against the number of bits: a row a table, a panel a frame, both axes logarithmic.

    python -m pipeline.plots.sigma_delta_slopes --slopes results/sigma_delta/*.parquet --output results/figures/slopes

Solid: the quantisation residual, with the slope fitted to it; dashed: the total error, which stops at the floor of p
projected rows (dotted). Makes a PNG and an SVG. Input: what pipeline.evaluation.sigma_delta_slopes makes.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from pipeline import stage
from pipeline.plots import style
from pipeline.stage import UserError
from pipeline.store import read_parquet

TITLE = "Sigma-delta distances: error against bits"
COLUMNS = ["embedding", "order", "frame", "p", "m", "residual", "total", "floor"]
COLOURS = {1: style.VERMILION, 2: style.BLUE, 3: style.GREEN}
MARKERS = {1: "o", 2: "s", 3: "^"}
FRAMES = {"gaussian": "Gaussian frame", "fast_jl": "fast JL (Hadamard)"}
PANEL_INCHES = 3.3

Row = Mapping[str, Any]


def sigma_delta_slopes(rows: Sequence[Row]) -> Figure:
    """Rows with the keys of COLUMNS."""
    with style.paper():
        if not rows:
            return style.empty_figure(TITLE)
        tables = list(dict.fromkeys(row["embedding"] for row in rows))
        frames = [frame for frame in FRAMES if any(row["frame"] == frame for row in rows)]
        figure = style.sheet(TITLE, style.WIDTH_INCHES, 1.0 + PANEL_INCHES * len(tables))
        panels = figure.subplots(len(tables), len(frames), squeeze=False, sharex=True, sharey=True)
        for table, line in zip(tables, panels, strict=True):
            for frame, axes in zip(frames, line, strict=True):
                axes.set_title(f"{table}, {FRAMES[frame]}")
                _draw(axes, [row for row in rows if (row["embedding"], row["frame"]) == (table, frame)])
            line[0].set_ylabel("mean relative error\nof distances")
        for axes in panels[-1]:
            axes.set_xlabel(f"bits m, at p = {rows[0]['p']}")
        _scale(panels[0, 0], rows)
        figure.legend(handles=_keys(rows), loc="outside lower center", ncols=6, frameon=False, fontsize=8.5)
        return figure


def _draw(axes: Axes, rows: Sequence[Row]) -> None:
    for order, colour in COLOURS.items():
        own = sorted((row for row in rows if row["order"] == order), key=lambda row: row["m"])
        if not own:
            continue
        steps, residuals, totals = (np.array([row[key] for row in own]) for key in ("m", "residual", "total"))
        axes.plot(steps, totals, color=colour, linewidth=1.0, linestyle=(0, (4, 2)), zorder=2)
        look = style.Look(colour, MARKERS[order])
        slope = np.polyfit(np.log(steps), np.log(residuals), 1)[0] if len(steps) > 1 else np.nan
        axes.plot(
            steps, residuals, **(look.drawn(5.0) | {"linestyle": "-", "linewidth": 1.3}), color=colour, zorder=3,
            label=f"r = {order}: slope {slope:.2f}".replace("-", "−"),
        )  # fmt: skip
    for floor in sorted({row["floor"] for row in rows}):
        axes.axhline(floor, color="black", linewidth=1.0, linestyle=(0, (1, 1.5)), zorder=1)
    if rows:
        axes.legend(loc="lower left", frameon=False, fontsize=8, handlelength=1.6, title="fitted to the residual",
                    title_fontsize=8, alignment="left")  # fmt: skip


def _scale(axes: Axes, rows: Sequence[Row]) -> None:
    """The same logarithmic axes in every panel, the x ticks at powers of two; room below for the fitted slopes."""
    axes.set(xscale="log", yscale="log")
    steps = [row["m"] for row in rows]
    axes.set_xlim(min(steps) / 1.15, max(steps) * 1.15)
    values = [row[key] for row in rows for key in ("residual", "total", "floor")]
    axes.set_ylim(min(values) / 30, max(values) * 1.6)
    axes.xaxis.set_major_locator(FixedLocator([2.0**k for k in range(40)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_locator(LogLocator(10))
    axes.yaxis.set_minor_locator(NullLocator())


def _keys(rows: Sequence[Row]) -> list[Line2D]:
    orders = [order for order in COLOURS if any(row["order"] == order for row in rows)]
    return [
        *(
            Line2D([], [], color=COLOURS[order], label=f"r = {order}", **_marked(order))
            for order in orders
        ),
        Line2D([], [], color="black", linewidth=1.3, label="residual"),
        Line2D([], [], color="black", linewidth=1.0, linestyle=(0, (4, 2)), label="total"),
        Line2D([], [], color="black", linewidth=1.0, linestyle=(0, (1, 1.5)), label="floor 0.603/√p"),
    ]  # fmt: skip


def _marked(order: int) -> dict[str, Any]:
    return style.Look(COLOURS[order], MARKERS[order]).drawn(5.0) | {"linestyle": "-"}


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--slopes", type=Path, nargs="+", required=True, help="Parquet files, one a table")
    parser.add_argument("--output", type=Path, required=True, help="figure to make, without suffix")
    args = parser.parse_args(argv)
    rows = []
    for path in args.slopes:
        table = read_parquet(path)
        if missing := sorted(set(COLUMNS) - set(table.column_names)):
            raise UserError(f"{path}: has no column {missing[0]!r}")
        rows += table.to_pylist()
    for path in style.write(sigma_delta_slopes(rows), args.output):
        stage.log.info("wrote %s", path)


if __name__ == "__main__":
    sys.exit(stage.run(main))
