"""SpikingJam: what a spike takes. Spikes a value to the right, µJ a vector above; a column a table, float32 above int8.

    python -m pipeline.plots.snn_spikingjam_energy --measurements results/snn.parquet \\
        --output results/figures/snn_spikingjam_energy

Beside each spiking codec the dense network of its size (dashed), and where both would take the same (a cross): on the
straight line from the network idle to the network measured (pipeline/snn/energy.py). The cross is that of the codec of
the fewest spikes that has one, as its measurement is nearest to the cross; the others are in results/snn.csv. 45 nm,
memory included, means over seeds. Makes a PNG and an SVG.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline import stage
from pipeline.plots import style
from pipeline.plots.snn_rows import Row, draw, mean
from pipeline.plots.snn_spikingjam import DENSE, SPIKING
from pipeline.stage import UserError

TITLE = "SpikingJam: energy by spikes (45 nm, memory included)"
PRECISIONS = {"": "float32", "_int8": "int8"}
TASK = "energy_"  # and the table
MICROJOULE = 1e-6  # of a picojoule


class Point(NamedTuple):
    """A codec: spikes a value, pJ a vector, those of the dense network of its size (None: it has none), and at how many
    spikes a value both would take the same (None: at none)."""

    spikes: float
    measured: float
    dense: float | None
    crossover: float | None


def points(rows: Iterable[Row]) -> dict[str, dict[tuple[str, str], list[Point]]]:
    """Table -> variant and precision -> its codecs by spikes, means over seeds.

    Raises UserError for a spiking codec's energy without its spikes, as older versions wrote it.
    """
    values: dict[tuple[str, ...], list[float]] = {}
    codecs: dict[tuple[str, str, str], list[tuple[float, float]]] = {}  # spikes a value, spikes a neuron and step
    for row in rows:
        if row["network"] == "spikingjam" and row["task"].startswith(TASK):
            key = row["task"].removeprefix(TASK), row["size"], row["variant"]
            values.setdefault((*key, row["metric"]), []).append(row["value"])
            if row["variant"] != DENSE and row["metric"] == "memory_pj":
                fired = row["spikes_per_value"], row["spike_rate"]
                if None in fired:
                    of = f"{row['size']}, seed {row['seed']}"
                    raise UserError(f"{row['task']} of {of}: no spikes_per_value or spike_rate beside its memory_pj")
                if all(fired):  # where nothing fired there is no place on an axis of logarithms
                    codecs.setdefault(key, []).append(fired)
    found: dict[str, dict[tuple[str, str], list[Point]]] = {}
    for (table, size, variant), measured in codecs.items():
        spikes, rate = (mean([one[place] for one in measured]) for place in (0, 1))
        for suffix in PRECISIONS:
            metric = f"memory_pj{suffix}"
            own, dense, crossover = (
                mean(some) if (some := values.get((table, size, of, name))) else None
                for of, name in ((variant, metric), (DENSE, metric), (variant, f"crossover_{metric}"))
            )
            if own is not None:
                at = None if crossover is None else spikes * crossover / rate
                found.setdefault(table, {}).setdefault((variant, suffix), []).append(Point(spikes, own, dense, at))
    return {table: {key: sorted(some) for key, some in of.items()} for table, of in found.items()}


def snn_spikingjam_energy(tables: Mapping[str, Mapping[tuple[str, str], list[Point]]]) -> Figure:
    with style.paper():
        if not tables:
            return style.empty_figure(TITLE)
        figure = style.sheet(TITLE, max(5.5, 3.4 * len(tables)), 5.6)
        grid = figure.subplots(len(PRECISIONS), len(tables), squeeze=False, sharex=True)
        for (table, found), column in zip(tables.items(), grid.T, strict=True):
            column[0].set_title(table)
            column[-1].set_xlabel("spikes a value")
            for suffix, axes in zip(PRECISIONS, column, strict=True):
                _draw(axes, suffix, found)
        for name, axes in zip(PRECISIONS.values(), grid[:, 0], strict=True):
            axes.set_ylabel(f"µJ a vector, {name}")
        drawn = {line.get_label(): line for axes in grid.flat for line in axes.get_legend_handles_labels()[0]}
        drawn["dense network of equal size"] = Line2D([], [], color=style.GREY, linestyle="--")
        drawn["crossover with it"] = Line2D([], [], color=style.GREY, linestyle="none", marker="x", markeredgewidth=2)
        figure.legend(list(drawn.values()), list(drawn), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
        return figure


def _draw(axes: Axes, suffix: str, found: Mapping[tuple[str, str], list[Point]]) -> None:
    axes.set(xscale="log", yscale="log")
    axes.margins(x=0.08, y=0.15)
    for variant, (label, look, size) in SPIKING.items():
        some = found.get((variant, suffix), [])
        if not some:
            continue
        how = {**look.drawn(size), "color": look.colour, "label": label, "linestyle": "-", "linewidth": 1.2}
        axes.plot([one.spikes for one in some], [MICROJOULE * one.measured for one in some], **how)
        for dense in {one.dense for one in some if one.dense is not None}:
            axes.axhline(MICROJOULE * dense, color=look.colour, linestyle="--", linewidth=1.0)
        both = [(one.crossover, one.dense) for one in some if one.crossover is not None and one.dense is not None]
        for spikes, dense in both[:1]:
            axes.plot(spikes, MICROJOULE * dense, "x", color=look.colour, markeredgewidth=1.8, markersize=7, zorder=4)
    style.log_ticks(axes.xaxis, (1,))
    style.log_ticks(axes.yaxis, (1, 2, 5))


def main(argv: Sequence[str] | None = None) -> None:
    draw(__doc__, argv, lambda rows: snn_spikingjam_energy(points(rows)))


if __name__ == "__main__":
    sys.exit(stage.run(main))
