"""Phase-shifted attention: at which phase each head reads the keys behind it, and how much they weigh there.

A row a head. The wide panel has the tokens between query and key to the right and the phase shift upwards, (s - t)
mod T of a key read at micro-step s by a query at micro-step t; the square one has both micro-steps. Both are shares of
the head's whole weight.
"""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.plots import style
from pipeline.recording import Attention, Recording

Array = np.ndarray

TITLE = "attention by phase"
ROW_INCHES = 1.25
KEPT = 0.95  # of the weight of each head lies at the distances that are drawn, at least
NUMBERED = 4  # micro-steps at most where shares are written into the panel
DARK = 0.1  # a share that is drawn so dark that it is written in white
LEAST = 1e-3  # share; what is less is grey, as where no key is read
NORM = LogNorm(LEAST, 1)
NOTHING = "#EBEBEB"
COLOURS = matplotlib.colormaps["YlGnBu"].with_extremes(under=NOTHING, bad=NOTHING)


def by_shift(weights: Array) -> Array:
    """[T, D] by (s - t) mod T of one head's weights by t and s [T, T, D]."""
    steps = len(weights)
    return np.stack([sum(weights[t, (t + shift) % steps] for t in range(steps)) for shift in range(steps)])


def reach(weights: Array) -> int:
    """How many distances hold KEPT of the weight of each head, of [H, T, T, D]."""
    by = weights.sum((1, 2), dtype=np.float64)
    total = by.cumsum(1)
    found = [int(np.searchsorted(one, KEPT * one[-1])) + 1 for one in total if one[-1] > 0]
    return min(weights.shape[-1], max([4, *found]))


def snn_attention(recording: Recording) -> Figure:
    title = f"{recording.network}: {TITLE}"
    with style.paper():
        if not recording.attention:
            return style.empty_figure(title)
        found = recording.attention
        heads = max(len(one.weights) for one in found.values())
        figure = style.sheet(title, max(7, 5.2 * len(found)), 1.3 + ROW_INCHES * heads)
        grid = figure.subplots(heads, 2 * len(found), squeeze=False, width_ratios=[3.4, 1] * len(found))
        distances = max(reach(one.weights) for one in found.values())
        for number, (group, attention) in enumerate(found.items()):
            columns = grid[:, 2 * number : 2 * number + 2]
            for head, (wide, square) in enumerate(columns):
                _draw(wide, square, attention, head, distances, last=head == len(columns) - 1)
            columns[0, 0].text(
                0, 1.3, group, transform=columns[0, 0].transAxes, fontsize=10, fontweight="bold", va="bottom"
            )
        image = grid[0, 0].images[0]
        bar = figure.colorbar(image, ax=grid, location="bottom", fraction=0.03, aspect=60, pad=0.02, extend="min")
        bar.set_label("share of the head's weight", fontsize=8)
        bar.ax.tick_params(labelsize=7)
        return figure


def _draw(wide: Axes, square: Axes, attention: Attention, head: int, distances: int, last: bool) -> None:
    weights = attention.weights[head].astype(np.float64)
    share = weights / (weights.sum() or 1.0)
    steps = len(share)
    for axes in (wide, square):
        axes.grid(False)
        axes.tick_params(labelsize=7)
        axes.spines[:].set_visible(False)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    pace, decay = attention.pace[head], attention.decay[head]
    wide.set_title(
        f"head {head + 1}: shift {attention.shift[head]:g}, pace {pace:.2g}, decay {decay:.2f}", fontsize=8, pad=3
    )
    wide.imshow(by_shift(share)[:, :distances], cmap=COLOURS, norm=NORM, origin="lower", aspect="auto")
    wide.set_ylabel("phase shift", fontsize=8)
    square.imshow(share.sum(2).T, cmap=COLOURS, norm=NORM, origin="lower", aspect="auto")
    square.set_ylabel("key's step", fontsize=8)
    for t, s in np.ndindex(*((steps, steps) if steps <= NUMBERED else (0, 0))):
        value = share[t, s].sum()
        colour = "white" if value > DARK else "black"
        square.text(t, s, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=7, color=colour)
    if last:
        wide.set_xlabel("tokens back", fontsize=8)
        square.set_xlabel("query's step", fontsize=8)
