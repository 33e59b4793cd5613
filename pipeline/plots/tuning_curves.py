"""A population's tuning curves beside the spikes of one value, and the value that is decoded from them.

Both panels share the axis of values: a neuron stands at the value that it prefers, in the raster too (time from left to
right). A neuron that fires has one colour in both; the value and what is decoded are lines across both. Of a large
population the surroundings of the value are shown.
"""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.plots import style

Array = np.ndarray

COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.SKY)
SILENT: Any = {"color": style.LIGHT_GREY, "linewidth": 0.8}
DOT_POINTS = 14  # area of a spike's dot, in square points
HEIGHT_INCHES = 4.4
SHOWN = 32  # curves, at most


class Response(NamedTuple):
    """A population and what it answers to one value."""

    name: str
    values: Array  # [G], ascending: where the curves are drawn
    activity: Array  # [G, P], 0 to 1
    centres: Array  # [P]: the value that each neuron prefers
    spikes: Array  # [T, P] of 0 and 1
    value: float
    decoded: float


def tuning_curves(response: Response) -> Figure:
    """A figure of the response: curves to the left, the raster to the right."""
    fired: Array = np.asarray(response.spikes.any(axis=0))
    total = int(response.spikes.sum())
    with style.paper():
        figure = style.sheet(f"Tuning curves of {response.name}", style.WIDTH_INCHES, HEIGHT_INCHES)
        curves, raster = figure.subplots(1, 2, sharey=True, width_ratios=(2, 3))
        for neuron in np.argsort(fired, kind="stable"):  # those that fire above the others
            look = {"color": COLOURS[neuron % len(COLOURS)], "linewidth": 1.6} if fired[neuron] else SILENT
            curves.plot(response.activity[:, neuron], response.values, **look)
        steps, neurons = np.nonzero(response.spikes)
        colours = [COLOURS[neuron % len(COLOURS)] for neuron in neurons]
        raster.scatter(steps, response.centres[neurons], s=DOT_POINTS, c=colours, linewidths=0, zorder=3)
        for axes in (curves, raster):
            axes.axhline(response.value, color="black", linewidth=1.0, zorder=1)
            axes.axhline(response.decoded, color=style.VERMILION, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
        curves.set(xlabel="activity", ylabel="value", xlim=(0, 1.05))
        curves.set_ylim(_shown(response))
        curves.set_title("tuning curves")
        raster.set(xlabel="time step", xlim=(-0.7, len(response.spikes) - 0.3))
        raster.xaxis.set_major_locator(MaxNLocator(integer=True))
        raster.set_title(f"{total} spike{'' if total == 1 else 's'} of {fired.sum()} of {len(fired)} neurons")
        figure.legend(handles=_keys(response), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
        return figure


def _shown(response: Response) -> tuple[float, float]:
    """The range of values that is shown: all of it, or that of as many centres on either side of the value."""
    low, high = float(response.values[0]), float(response.values[-1])
    if len(response.centres) <= SHOWN:
        return low, high
    half = SHOWN / 2 * float(response.centres[1] - response.centres[0])
    return max(low, response.value - half), min(high, response.value + half)


def _keys(response: Response) -> list[Line2D]:
    value, decoded = (f"{number:.4f}".replace("-", "−") for number in (response.value, response.decoded))
    return [
        Line2D([], [], color="black", linewidth=1.0, label=f"value {value}"),
        Line2D([], [], color=style.VERMILION, linewidth=1.2, linestyle=(0, (4, 2)), label=f"decoded {decoded}"),
        Line2D([], [], label="curve of a neuron that is silent", **SILENT),
    ]
