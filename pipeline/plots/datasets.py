"""Every data set of word pairs and questions apart: bars for float32 and the Pareto-optimal representations."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.plots import style
from pipeline.plots.measurements import Benchmarks, Metrics, Point, Row, best, metric, on_codes, points
from pipeline.plots.pareto import front

TITLE = "Scores on each data set: float32 and the Pareto-optimal representations"
BARS = 8  # in a group at most: more cannot be told apart
PANEL_INCHES = 2.9
SET_INCHES = 1.6
LEGEND_INCHES = 2.2
BAR_ROOM = 0.84  # of the distance from group to group
REFERENCE = "float32"
NAMES = {
    "wordsim353": "WordSim353",
    "simlex999": "SimLex999",
    "analogy_semantic": "Analogies, semantic",
    "analogy_syntactic": "Analogies, syntactic",
}


def datasets(benchmarks: Benchmarks) -> Figure:
    with style.paper():
        sets = data_sets(benchmarks)
        if not benchmarks:
            return style.empty_figure(TITLE)
        width = max(style.WIDTH_INCHES, LEGEND_INCHES + SET_INCHES * len(sets))
        chosen = {embedding: selection(rows, sets) for embedding, rows in benchmarks.items()}
        heights = [PANEL_INCHES if some else style.NOTE_INCHES for some in chosen.values()]
        figure = style.sheet(TITLE, width, 0.5 + sum(heights))
        all_axes = figure.subplots(len(benchmarks), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (embedding, rows) in zip(all_axes, benchmarks.items(), strict=True):
            axes.set_title(embedding)
            if chosen[embedding]:
                _draw(axes, rows, sets, chosen[embedding])
            else:
                style.note(axes, "no data set is covered")
        return figure


def data_sets(benchmarks: Benchmarks) -> list[str]:
    """The metrics that rest on a covered part of a whole, the known ones first; 3CosMul is a second method, no set."""
    found = {
        name
        for rows in benchmarks.values()
        for metrics in rows.values()
        for name, scores in metrics.items()
        if any(score.covered is not None and score.total is not None for score in scores.values())
    }
    own = sorted(name for name in found - set(NAMES) if not name.endswith("_3cosmul"))
    return [*(name for name in NAMES if name in found), *own]


def selection(rows: Mapping[Row, Metrics], sets: Sequence[str]) -> list[Point]:
    """float32 and the front of bytes against recall@10, of what has a score in some set; at most BARS, by size.

    A longer front is thinned evenly in the logarithm of the size; its ends stay.
    """
    scored = {name for one in sets for name in best(on_codes(rows), metric(one))}
    able = [point for point in points(rows, metric("knn10_overlap")) if point.row.representation in scored]
    reference = [point for point in able if point.row.representation == REFERENCE]
    line = [able[i] for i in front([point.cost for point in able], [point.score.value for point in able])]
    line = thinned([point for point in line if point not in reference], BARS - len(reference))
    return sorted([*line, *reference], key=lambda point: -point.cost)


def thinned(line: Sequence[Point], count: int) -> list[Point]:
    """`count` of the points, which are sorted by size: from the closest pair one goes, until few enough are left."""
    left = list(line)
    while len(left) > count:
        inner = range(1, len(left) - 1)
        del left[min(inner, key=lambda i: left[i + 1].cost / left[i - 1].cost)]
    return left


def _draw(axes: Axes, rows: Mapping[Row, Metrics], sets: Sequence[str], chosen: Sequence[Point]) -> None:
    scores = {name: best(on_codes(rows), metric(name)) for name in sets}
    names = style.short_names(row.representation for row in rows)
    width = BAR_ROOM / len(chosen)
    for i, point in enumerate(chosen):
        offset = (i - (len(chosen) - 1) / 2) * width
        found = [scores[name].get(point.row.representation) for name in sets]
        bars = [(group + offset, one[1]) for group, one in enumerate(found) if one is not None]
        axes.bar(
            [x for x, _ in bars],
            [score.value for _, score in bars],
            width,
            color=_colour(i, len(chosen)),
            edgecolor="white",
            linewidth=0.4,
            label=f"{names[point.row.representation]}: {point.cost:,.0f} B",
        )
        for x, score in bars:
            axes.vlines(x, score.low, score.high, color="white", linewidth=2.2, alpha=0.8, snap=False)
            axes.vlines(x, score.low, score.high, color="black", linewidth=0.9, snap=False)
    for group, name in enumerate(sets):
        if not scores[name]:
            axes.text(group, 0.02, "not covered", ha="center", va="bottom", color=style.GREY, fontsize=8)
    axes.set_xticks(range(len(sets)), [f"{_title(name)}\n{coverage(rows, name)}" for name in sets], fontsize=8)
    axes.tick_params(axis="x", length=0)
    axes.grid(False, axis="x")
    axes.set_xlim(-0.5, len(sets) - 0.5)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylabel("Spearman's ρ (pairs)\nshare right (questions)", fontsize=8.5)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
        fontsize=7.5,
        title="bytes per vector",
        title_fontsize=8,
    )


def _colour(i: int, count: int) -> tuple[float, ...]:
    """Dark to light as the vectors shrink; viridis keeps its order to colour-blind readers."""
    return tuple(matplotlib.colormaps["viridis"](0.12 + 0.86 * i / max(1, count - 1)))


def _title(name: str) -> str:
    return NAMES.get(name, "\n".join(textwrap.wrap(name.replace("_", " "), 18)))


def coverage(rows: Mapping[Row, Metrics], name: str) -> str:
    """`345 of 353 pairs`: how much of a set this embedding covers."""
    for metrics in rows.values():
        for score in metrics.get(name, {}).values():
            if score.covered is not None and score.total is not None:
                unit = "questions" if name.startswith("analogy_") else "pairs"
                return f"{score.covered:,} of {score.total:,} {unit}"
    return ""
