"""What a network's neurons fired on one input: a panel a layer, a dash a spike, time to the right, neurons upwards.

At the right edge, how many of the neurons that are drawn fire in a step, the mean over all.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.plots import style
from pipeline.recording import Layer, Recording

PANEL_INCHES = 0.95  # height
DASH = 0.8  # of a step
PLACE = "#E0E0E0"


def groups(layers: Sequence[Layer]) -> dict[str, list[Layer]]:
    """Layers by group, in order."""
    found: dict[str, list[Layer]] = {}
    for layer in layers:
        found.setdefault(layer.group, []).append(layer)
    return found


def places(axes: Axes, recording: Recording, labelled: bool) -> None:
    """The time axis: a tick in the middle of each place, named by what is read there, lines at its marks."""
    steps, count = recording.timesteps, len(recording.places)
    middles = steps * np.arange(count) + (steps - 1) / 2
    axes.grid(False)
    axes.set_xlim(-0.5, steps * count - 0.5)
    axes.tick_params(axis="x", length=0)
    axes.set_xticks([])
    if labelled:  # hundreds of ticks that nobody sees take seconds
        axes.set_xticks(middles, recording.places, rotation=90, fontsize=6.5)
    if recording.rests:  # where neurons begin anew
        edges = steps * np.arange(1, count) - 0.5
        axes.vlines(edges, 0, 1, transform=axes.get_xaxis_transform(), color=PLACE, linewidth=0.5, zorder=0)
    for place in recording.marks.values():
        axes.axvspan(steps * place - 0.5, steps * (place + 1) - 0.5, color=PLACE, linewidth=0, zorder=0)


def name_marks(axes: Axes, recording: Recording) -> None:
    """What the marked places are, above the panel."""
    for name, place in recording.marks.items():
        x = recording.timesteps * (place + 0.5) - 0.5
        where: dict[str, Any] = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points"}
        axes.annotate(name, (x, 1), (0, 2), ha="center", fontsize=8, **where)


def snn_raster(recording: Recording) -> Figure:
    title = f"{recording.network}: spikes by layer"
    with style.paper():
        if not recording.layers:
            return style.empty_figure(title)
        found = groups(recording.layers)
        lines = max(map(len, found.values()))
        figure = style.sheet(title, max(6.5, 4 * len(found)), 1.5 + PANEL_INCHES * lines)
        grid = figure.subplots(lines, len(found), squeeze=False)
        for (group, layers), column in zip(found.items(), grid.T, strict=True):
            for axes, layer in zip(column, layers, strict=False):
                places(axes, recording, labelled=layer is layers[-1])
                _draw(axes, layer)
                rate = f"{layer.spikes.mean():.0%}"
                axes.text(
                    *(1.008, 0.5, f"active\n{rate}" if layer is layers[0] else rate),
                    **{"transform": axes.transAxes, "va": "center", "fontsize": 7.5, "color": style.GREY},
                )
            for axes in column[len(layers) :]:
                axes.set_visible(False)
            column[0].set_title(group, fontweight="bold", pad=14 if recording.marks else 6)
            name_marks(column[0], recording)
        return figure


def _draw(axes: Axes, layer: Layer) -> None:
    """Dashes as pixels: an SVG of thousands of lines is slow to open."""
    time, neuron = np.nonzero(layer.spikes)
    axes.hlines(neuron, time - DASH / 2, time + DASH / 2, color=style.BLACK, linewidth=0.9, rasterized=True)
    count = layer.spikes.shape[1]
    axes.set(ylim=(-1, count), yticks=[])
    some = f"{count} of {layer.neurons}" if count < layer.neurons else f"all {count}"
    axes.set_ylabel(f"{layer.name}\n{some}", fontsize=7.5)
