"""SpikingJam: what a spike buys. Spikes a value to the right; a column a table, the squared error above, recall below.

    python -m pipeline.plots.snn_spikingjam --measurements results/snn.parquet --output results/figures/snn_spikingjam

Means over seeds, on rows that no training saw. Makes a PNG and an SVG.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline import stage
from pipeline.plots import style
from pipeline.plots.snn_rows import Row, draw, mean

TITLE = "SpikingJam: fidelity by spikes"
METRICS = {"relative_mse": "relative MSE", "knn10_overlap_unseen": "recall@10, unseen rows"}
SPIKING = {
    "spiking": ("a neuron a value, learned", style.Look(style.BLUE, "o"), 5.0),
    "untrained": ("principal axes, no attention", style.Look(style.VERMILION, "^", filled=False), 9.0),
    "without_attention": ("learned, no attention", style.Look(style.GREEN, "s", filled=False), 12.0),
    "population": ("population, learned", style.Look(style.ORANGE, "p"), 6.0),
    "population_untrained": ("population, not learned", style.Look(style.PURPLE, "h", filled=False), 9.0),
    "exact": ("exact integers", style.Look(style.BLACK, "D"), 5.0),
}
DENSE = "dense"

Curve = list[tuple[float, float]]
"""(spikes a value, metric), by spikes; of the dense network, which has none, a single value at 0"""


def curves(rows: Iterable[Row]) -> dict[str, dict[tuple[str, str], Curve]]:
    """Table -> variant and metric -> its curve, means over seeds."""
    values: dict[tuple[str, str, str, str], list[tuple[float, float]]] = {}
    for row in rows:
        if row["network"] == "spikingjam" and row["metric"] in METRICS:
            key = row["task"], row["variant"], row["metric"], row["size"]
            values.setdefault(key, []).append((row["spikes_per_value"] or 0.0, row["value"]))
    found: dict[str, dict[tuple[str, str], Curve]] = {}
    for (table, variant, metric, _), points in values.items():
        x, y = ([point[axis] for point in points] for axis in (0, 1))
        found.setdefault(table, {}).setdefault((variant, metric), []).append((mean(x), mean(y)))
    return {table: {key: sorted(curve) for key, curve in of.items()} for table, of in found.items()}


def snn_spikingjam(tables: Mapping[str, Mapping[tuple[str, str], Curve]]) -> Figure:
    with style.paper():
        if not tables:
            return style.empty_figure(TITLE)
        figure = style.sheet(TITLE, max(5.5, 3.4 * len(tables)), 5.6)
        grid = figure.subplots(len(METRICS), len(tables), squeeze=False, sharex=True, sharey="row")
        for (table, found), column in zip(tables.items(), grid.T, strict=True):
            column[0].set_title(table)
            column[-1].set_xlabel("spikes a value")
            for metric, axes in zip(METRICS, column, strict=True):
                _draw(axes, metric, found)
        for label, axes in zip(METRICS.values(), grid[:, 0], strict=True):
            axes.set_ylabel(label)
        drawn = {line.get_label(): line for axes in grid.flat for line in axes.get_legend_handles_labels()[0]}
        figure.legend(list(drawn.values()), list(drawn), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
        return figure


def _draw(axes: Axes, metric: str, found: Mapping[tuple[str, str], Curve]) -> None:
    axes.set_xscale("log")
    axes.margins(x=0.08, y=0.12)  # marks are large
    for variant, (label, look, size) in SPIKING.items():
        if curve := found.get((variant, metric)):
            x, y = zip(*curve, strict=True)
            how = {**look.drawn(size), "linestyle": "-", "color": look.colour, "linewidth": 1.2, "label": label}
            if not look.filled:  # controls lie on what they control: one is to be seen through the other
                how["markerfacecolor"] = "none"
            axes.plot(x, y, **how)
    if metric == "relative_mse":
        axes.set_yscale("log")  # the dense network loses rounding alone, and is far below
    elif curve := found.get((DENSE, metric)):
        axes.axhline(curve[0][1], color=style.GREY, linestyle=":", label="dense, no spikes (loses rounding alone)")
    style.log_ticks(axes.xaxis, (1, 2, 5))
    axes.minorticks_off()


def main(argv: Sequence[str] | None = None) -> None:
    draw(__doc__, argv, lambda rows: snn_spikingjam(curves(rows)))


if __name__ == "__main__":
    sys.exit(stage.run(main))
