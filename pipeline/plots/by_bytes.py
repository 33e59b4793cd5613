"""Bytes per vector, or another cost, against a score: a panel an embedding, the Pareto front drawn and named.

What stores more than float32 does, as trains of many spikes may, stands in the pictures of spikes.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from pipeline.plots import labels, style
from pipeline.plots.measurements import Benchmarks, Measure, Point, points, sizes
from pipeline.plots.pareto import front

PANEL_INCHES = 4.0
MARKER, FRONT_MARKER = 5.5, 7.5  # points
LABEL_SIZE = 7.5  # points
REFERENCE = "float32"


class Cost(NamedTuple):
    """A metric of the table, what its axis says, and whether all points have names and not those of the front alone."""

    metric: str
    label: str
    all_named: bool = False


BYTES = Cost("bytes_per_vector", "bytes per vector (log scale)")


def by_bytes(
    benchmarks: Benchmarks,
    measure: Measure,
    title: str,
    y_label: str,
    absent: str,
    cost: Cost = BYTES,
    more_keys: Sequence[Line2D] = (),
) -> Figure:
    """`absent` is what an embedding's panel says if no representation of it has this score. `more_keys`: of the legend,
    for what the caller draws besides."""
    with style.paper():
        if not benchmarks:
            return style.empty_figure(title)
        panels = {embedding: _drawn(points(rows, measure, cost.metric), cost) for embedding, rows in benchmarks.items()}
        heights = [PANEL_INCHES if found else style.NOTE_INCHES for found in panels.values()]
        figure = style.sheet(title, style.WIDTH_INCHES, 1.1 + sum(heights))
        every = [point for found in panels.values() for point in found]
        all_axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (embedding, found) in zip(all_axes, panels.items(), strict=True):
            axes.set_title(f"{embedding}: {sizes(benchmarks[embedding])}".removesuffix(": "))
            if not found:
                style.note(axes, absent)
                continue
            axes.set(xlabel=cost.label, ylabel=y_label)
            _scale_costs(axes, every)
            _scale_scores(axes, found)
            _draw(axes, found)
        if every:
            _legend(figure, every, more_keys)
        drawn = [(axes, found) for axes, found in zip(all_axes, panels.values(), strict=True) if found]
        _label(figure, drawn, cost.all_named)
        return figure


def _drawn(found: list[Point], cost: Cost) -> list[Point]:
    reference = [point.cost for point in found if point.row.representation == REFERENCE]
    most = reference[0] if reference and cost == BYTES else math.inf
    return [point for point in found if point.cost <= most]


def _on_front(found: Sequence[Point]) -> list[Point]:
    return [found[i] for i in front([point.cost for point in found], [point.score.value for point in found])]


def _steps(found: Sequence[Point], right: float) -> np.ndarray:
    """Corners of the front's step line up to `right`: the best score within so many bytes. [n, 2]"""
    line = _on_front(found)
    x = np.array([*(point.cost for point in line), max(right, line[-1].cost)])
    y = np.array([*(point.score.value for point in line), line[-1].score.value])
    corners = np.column_stack([np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]])
    return corners[:-1]


def _scale_costs(axes: Axes, every: Sequence[Point]) -> None:
    """The same axis in every panel, in powers of two."""
    low, high = (extreme(point.cost for point in every) for extreme in (min, max))
    axes.set_xscale("log", base=2)
    axes.set_xlim(low / 1.5, high * 1.5)
    first, last = math.ceil(math.log2(low / 1.5)), math.floor(math.log2(high * 1.5))
    axes.xaxis.set_major_locator(FixedLocator([2.0**k for k in range(first, last + 1, 1 + (last - first) // 12)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))


def _scale_scores(axes: Axes, found: Sequence[Point]) -> None:
    """From the lowest score to the highest, which is where the differences are, with room for labels above."""
    ends = [end for point in found for end in point.score[:3] if math.isfinite(end)]
    bottom, top = min(ends), max(ends)
    span = max(top - bottom, 0.1)
    axes.set_ylim(bottom - 0.1 * span, top + 0.16 * span)
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in axes.get_yticks() if tick < 1.001]))  # shares end at 1
    axes.set_ylim(bottom - 0.1 * span, top + 0.16 * span)


def _draw(axes: Axes, found: Sequence[Point]) -> None:
    """Markers, intervals, the front, and float32's score as a line to compare with."""
    leading = set(_on_front(found))
    for point in found:
        if point.row.representation == REFERENCE:
            axes.axhline(point.score.value, color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    corners = _steps(found, axes.get_xlim()[1])
    axes.plot(corners[:, 0], corners[:, 1], color="black", linewidth=1.1, zorder=2)
    for point in found:
        ahead = point in leading
        look = style.look(point.row.family)
        size, opacity = (FRONT_MARKER, 1.0) if ahead else (MARKER, 0.55)
        low, high = point.score.low, point.score.high
        axes.vlines(point.cost, low, high, color=look.colour, linewidth=0.8, alpha=opacity, zorder=3)
        order = 4 + ahead + 2 * look.filled  # a hollow marker would hide an own code's beneath it
        axes.plot(point.cost, point.score.value, alpha=opacity, zorder=order, **look.drawn(size))


def _legend(figure: Figure, every: Sequence[Point], more_keys: Sequence[Line2D]) -> None:
    keys = [style.family_key(family) for family in style.in_order(point.row.family for point in every)]
    keys.append(Line2D([], [], color="black", linewidth=1.1, label="Pareto front"))
    if any(point.row.representation == REFERENCE for point in every):
        keys.append(Line2D([], [], color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)), label=REFERENCE))
    keys += more_keys
    figure.legend(
        handles=keys,
        loc="outside lower center",
        ncols=3 if more_keys else min(len(keys), 7),
        frameon=False,
        fontsize=8.5,
    )


def _label(figure: Figure, panels: Sequence[tuple[Axes, list[Point]]], every: bool) -> None:
    """Name the points of the front, and float32, or `every` one. The layout is settled first: places are found on the
    finished page."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, found in panels:
        leading = set(_on_front(found))
        named = [point for point in found if every or point in leading or point.row.representation == REFERENCE]
        names = style.short_names(point.row.representation for point in found)
        _label_panel(figure, axes, found, named, [names[point.row.representation] for point in named])


def _label_panel(
    figure: Figure, axes: Axes, found: Sequence[Point], named: Sequence[Point], names: Sequence[str]
) -> None:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    to_points = 72 / figure.dpi

    def on_page(x: Sequence[float], y: Sequence[float]) -> np.ndarray:
        return axes.transData.transform(np.column_stack([x, y])) * to_points

    texts = [figure.text(0, 0, name, fontsize=LABEL_SIZE) for name in names]
    extents = [text.get_window_extent(canvas.get_renderer()) for text in texts]
    room = np.array([[extent.width, extent.height] for extent in extents]) * to_points
    for text in texts:
        text.remove()
    half = FRONT_MARKER / 2
    spots = on_page([point.cost for point in found], [point.score.value for point in found])
    anchors = on_page([point.cost for point in named], [point.score.value for point in named])
    corners = _steps(found, axes.get_xlim()[1])
    bars = [
        on_page([point.cost] * 2, [point.score.low, point.score.high])
        for point in found
        if math.isfinite(point.score.low + point.score.high)
    ]
    levels = [
        on_page(axes.get_xlim(), [point.score.value] * 2) for point in found if point.row.representation == REFERENCE
    ]
    places = labels.place(
        anchors,
        room,
        np.concatenate([spots - half, spots + half], axis=1),
        [on_page(list(corners[:, 0]), list(corners[:, 1])), *bars, *levels],
        np.array(axes.bbox.extents) * to_points,
    )
    for name, anchor, box in zip(names, anchors, places, strict=True):
        if box is None:
            continue
        end = labels.nearest(box, anchor)
        if np.hypot(*(end - anchor)) > half + 3:
            line = np.stack([anchor, end]) / 72  # inches
            axes.add_artist(
                Line2D(*line.T, transform=figure.dpi_scale_trans, color=style.GREY, linewidth=0.5, zorder=2.5)
            )
        x, y = box[:2] / 72
        axes.text(x, y, name, transform=figure.dpi_scale_trans, fontsize=LABEL_SIZE, va="bottom", gid="label")
