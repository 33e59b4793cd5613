"""Membrane potentials of some neurons of each layer, their thresholds, and where they fired."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.plots import style
from pipeline.plots.snn_raster import groups, name_marks, places
from pipeline.recording import Layer, Recording

PANEL_INCHES = 1.0  # height
COLUMNS = 4  # neurons side by side, all groups together
KEYS: dict[str, dict[str, Any]] = {
    "potential": {"color": style.BLUE, "linewidth": 1.0, "marker": ".", "markersize": 3},
    "threshold": {"color": style.VERMILION, "linewidth": 1.0, "linestyle": (0, (3, 1.5))},
    "spike": {"color": style.BLACK, "linestyle": "none", "marker": "|", "markersize": 6},
}


def snn_membrane(recording: Recording) -> Figure:
    title = f"{recording.network}: membranes by layer"
    found = groups([layer for layer in recording.layers if len(layer.traced)])
    with style.paper():
        if not found:
            return style.empty_figure(title)
        each = max(1, COLUMNS // len(found))
        lines = max(map(len, found.values()))
        figure = style.sheet(title, 2.6 * each * len(found), 1.9 + PANEL_INCHES * lines)
        grid = figure.subplots(lines, each * len(found), squeeze=False)
        for number, (group, layers) in enumerate(found.items()):
            columns = grid[:, number * each : (number + 1) * each]
            columns[0, 0].set_title(group, fontweight="bold", pad=14 if recording.marks else 6)
            for row, layer in zip(columns, layers, strict=False):
                for place, axes in enumerate(row):
                    if place >= len(layer.traced):
                        axes.set_visible(False)
                        continue
                    _draw(axes, recording, layer, place, labelled=layer is layers[-1])
                    if layer is layers[0]:
                        name_marks(axes, recording)
                row[0].set_ylabel(layer.name, fontsize=8)
            for axes in columns[len(layers) :].flat:
                axes.set_visible(False)
        figure.align_ylabels()
        handles = [Line2D([], [], label=name, **how) for name, how in KEYS.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
        return figure


def _draw(axes: Axes, recording: Recording, layer: Layer, place: int, labelled: bool) -> None:
    """One neuron; its lines are broken where it comes to rest."""
    places(axes, recording, labelled)
    time = np.arange(len(layer.potential), dtype=float)
    potential, threshold = layer.potential[:, place], layer.threshold[:, place]
    fired = layer.spikes[:, layer.traced[place]] > 0
    if recording.rests:
        ends = np.arange(recording.timesteps, len(time), recording.timesteps)
        axes.plot(np.insert(time, ends, np.nan), np.insert(potential, ends, np.nan), **KEYS["potential"])
    else:
        axes.plot(time, potential, **KEYS["potential"])
    axes.plot(time, threshold, **KEYS["threshold"])
    low, high = min(0.0, potential.min()), max(potential.max(), threshold.max())
    axes.set_ylim(low - 0.08 * (high - low), high + 0.3 * (high - low))
    axes.plot(time[fired], np.full(fired.sum(), high + 0.18 * (high - low)), **KEYS["spike"])
    axes.tick_params(axis="y", labelsize=6.5)
    axes.locator_params(axis="y", nbins=3)
