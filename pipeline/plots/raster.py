"""Spike trains of some words: a panel a word, a dot a spike, time steps to the right, neurons upwards.

Spikes are black; where they have signs, negative ones are red. All panels have the same axes.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.plots import style

Array = np.ndarray

PANELS_A_LINE = 5
PANEL_INCHES = 2.7  # height: some hundred neurons are to be told apart
DOT = 1.5  # points^2
SIGNS = {1: ("spike", style.BLACK), -1: ("negative spike", style.VERMILION)}


def raster(dense: Array, words: Sequence[str], title: str) -> Figure:
    """A figure of the trains `dense` [T, n, P] of 1, 0 and -1 (snnTorch's time x batch x neurons) of n words.

    Raises ValueError for another number of words.
    """
    steps, count, neurons = dense.shape
    if count != len(words):
        raise ValueError(f"{len(words)} words for trains of shape {dense.shape}")
    with style.paper():
        if not count:
            return style.empty_figure(title)
        lines = -(-count // PANELS_A_LINE)
        figure = style.sheet(title, style.WIDTH_INCHES, 0.8 + PANEL_INCHES * lines)
        panels = figure.subplots(lines, min(count, PANELS_A_LINE), squeeze=False, sharex=True, sharey=True)
        panels[0, 0].set(xlim=(-0.5, steps - 0.5), ylim=(-0.5, neurons - 0.5))
        panels[0, 0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
        panels[0, 0].yaxis.set_major_locator(MaxNLocator(5, integer=True))
        for number, axes in enumerate(panels.flat):
            if number < count:
                axes.set_title(words[number])
                _draw(axes, dense[:, number])
            else:
                axes.set_visible(False)
            if number < count <= number + PANELS_A_LINE:  # nothing below it
                axes.set_xlabel("time step")
                axes.tick_params(labelbottom=True)
        for axes in panels[:, 0]:
            axes.set_ylabel("neuron")
        if (dense < 0).any():
            keys = [
                Line2D([], [], color=colour, linestyle="none", marker="o", markersize=4, label=name)
                for name, colour in SIGNS.values()
            ]
            figure.legend(handles=keys, loc="outside lower center", ncols=2, frameon=False, fontsize=8.5)
        return figure


def _draw(axes: Axes, train: Array) -> None:
    """Dots of one train [T, P]; as pixels, since an SVG of some ten thousand circles is slow to open."""
    axes.grid(False)
    for sign, (_, colour) in SIGNS.items():
        time, neuron = np.nonzero(train == sign)
        axes.scatter(time, neuron, s=DOT, color=colour, linewidths=0, rasterized=True)
