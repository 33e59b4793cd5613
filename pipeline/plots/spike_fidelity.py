"""Original against decoded values, a panel a code: how many lie where, and the line on which nothing is lost."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.plots import style

Array = np.ndarray

TITLE = "Values before and after their spikes"
COLUMNS = 4
PANEL_INCHES = 2.1
BINS = 60  # hexagons across a panel
COVERED = 0.9995  # of the values that the axes span; rarer ones lie beyond
COLOURS = "cividis_r"


class Decoded(NamedTuple):
    """Values before and after, of any shape, and the relative error that the table has for them."""

    original: Array
    decoded: Array
    relative_mse: float


def spike_fidelity(codes: Mapping[str, Decoded]) -> Figure:
    """Codes by name, in the order given; all panels have the same axes and colours."""
    with style.paper():
        if not codes:
            return style.empty_figure(TITLE)
        columns = min(COLUMNS, len(codes))
        lines = math.ceil(len(codes) / columns)
        width = columns * PANEL_INCHES + 1.2
        figure = style.sheet(TITLE, max(width, 3.9), 0.8 + lines * (PANEL_INCHES + 0.45))
        panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        reach = float(np.quantile(np.abs(np.concatenate([one.original.ravel() for one in codes.values()])), COVERED))
        reach = 1.1 * reach or 1.0
        drawn = [_draw(axes, name, one, reach) for axes, (name, one) in zip(panels.flat, codes.items(), strict=False)]
        most = max(2.0, *(float(np.max(np.asarray(one.get_array()), initial=1)) for one in drawn))
        for one in drawn:
            one.set_norm(LogNorm(1, most))
        for axes in panels.flat[len(codes) :]:
            axes.set_visible(False)
        for place, axes in enumerate(panels.flat[: len(codes)]):
            axes.tick_params(labelbottom=place + columns >= len(codes))
        figure.supxlabel("original value", fontsize=9)
        figure.supylabel("decoded value", fontsize=9)
        figure.colorbar(drawn[0], ax=panels, label="values in a hexagon", shrink=0.9 if lines == 1 else 0.6, aspect=30)
        return figure


def _draw(axes: Axes, name: str, code: Decoded, reach: float) -> Any:
    """One panel; its hexagons, whose colours are set once all are known."""
    found = axes.hexbin(
        code.original.ravel(), code.decoded.ravel(), gridsize=BINS, extent=(-reach, reach, -reach, reach),
        mincnt=1, cmap=COLOURS, linewidths=0.1, zorder=2,
    )  # fmt: skip
    axes.plot([-reach, reach], [-reach, reach], color=style.VERMILION, linewidth=0.8, zorder=3, alpha=0.8)
    axes.set_title(f"{_wrapped(name)}\nrelative MSE {_short(code.relative_mse)}", fontsize=8.5)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(3, symmetric=True))
    axes.tick_params(labelsize=8)
    return found


def _wrapped(name: str) -> str:
    """A carried code's name on two lines: a panel has room for some thirty characters."""
    return style.short(name).replace(": ", ":\n")


def _short(number: float) -> str:
    """Two digits: 1.5, 0.058, 9.9 × 10⁻⁵."""
    if number >= 0.01 or number == 0:
        return f"{number:.2g}"
    digits, exponent = f"{number:.1e}".split("e")
    return f"${digits} \\times 10^{{{int(exponent)}}}$"
