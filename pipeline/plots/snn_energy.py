"""Energy by spike rate: a panel a network, float32 and int8, the spiking network's line and the dense one's.

    python -m pipeline.plots.snn_energy --measurements results/snn.parquet --output results/figures/snn_energy

Energy is a straight line in the spike rate, through the idle and the measured network (pipeline/snn/energy.py); where
it meets the dense network's is the crossover, said above the panel: no label stands among the lines. A crossover above
1, a rate which no network reaches, is said and not drawn. Makes a PNG and an SVG.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline import stage
from pipeline.plots import style
from pipeline.plots.snn_rows import Row, draw, mean

TITLE = "Energy by spike rate (45 nm, memory included)"
PRECISIONS = {"": ("float32", style.BLUE), "_int8": ("int8", style.VERMILION)}
ROOM = 1.5  # how far the rates go, beyond the measured rate and the crossovers
WANTED = (("spiking", "memory"), ("spiking", "idle_memory"), ("dense", "memory"))  # variant, metric
NANOJOULE = 1e-3  # of a picojoule


class Pair(NamedTuple):
    """Energies in pJ of a sample: the spiking network as measured at `rate` and idle, and the dense one."""

    measured: float
    idle: float
    rate: float
    dense: float

    @property
    def slope(self) -> float:
        """pJ for each spike a neuron and step more."""
        return (self.measured - self.idle) / self.rate if self.rate else 0.0

    @property
    def crossover(self) -> float | None:
        """The rate at which both take the same, if there is one up to 1; else None: the spiking network takes more even
        if no neuron fires, or less at every rate, or nothing fired."""
        at = (self.dense - self.idle) / self.slope if self.slope else 0.0
        return at if 0 < at <= 1 else None


def pairs(rows: Iterable[Row]) -> dict[str, dict[str, Pair]]:
    """Network and size -> precision -> its pair, means over seeds; only where all is known."""
    values: dict[tuple[str, str, str], list[float]] = {}
    rates: dict[str, list[float]] = {}
    for row in rows:
        if row["task"] == "energy":
            name = f"{row['network']}, {row['size']}"
            values.setdefault((name, row["variant"], row["metric"]), []).append(row["value"])
            if row["variant"] == "spiking" and row["spike_rate"] is not None:
                rates.setdefault(name, []).append(row["spike_rate"])
    found: dict[str, dict[str, Pair]] = {}
    for name in rates:
        for suffix in PRECISIONS:
            keys = [(name, variant, f"{what}_pj{suffix}") for variant, what in WANTED]
            if all(key in values for key in keys):
                measured, idle, dense = (mean(values[key]) for key in keys)
                found.setdefault(name, {})[suffix] = Pair(measured, idle, mean(rates[name]), dense)
    return found


def snn_energy(networks: dict[str, dict[str, Pair]]) -> Figure:
    with style.paper():
        if not networks:
            return style.empty_figure(TITLE)
        figure = style.sheet(TITLE, max(4.5, 4.2 * len(networks)), 4.0)
        for axes, (name, found) in zip(
            figure.subplots(1, len(networks), squeeze=False)[0], networks.items(), strict=True
        ):
            axes.set_title(name, pad=29)
            axes.set(xlabel="spikes a neuron and step", ylabel="nJ a sample", yscale="log")
            ends = [one for pair in found.values() for one in (pair.rate, pair.crossover) if one]
            rates = np.linspace(0, min(1.0, ROOM * max(ends, default=1.0)), 200)
            for place, (suffix, pair) in enumerate(found.items()):
                _draw(axes, pair, rates, *PRECISIONS[suffix])
                axes.text(
                    *(0, 1.10 - 0.07 * place, f"{PRECISIONS[suffix][0]}: {said(pair)}"),
                    **{"transform": axes.transAxes, "fontsize": 8, "color": PRECISIONS[suffix][1]},
                )
            axes.set_xlim(0, rates[-1])
        handles, labels = axes.get_legend_handles_labels()
        handles += [Line2D([], [], color=style.GREY, linestyle="none", marker=marker) for marker in "ox"]
        labels += ["as measured", "crossover"]
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
        return figure


def said(pair: Pair) -> str:
    """The measured rate, and where the crossover is or why there is none."""
    measured = f"{pair.rate:.2g} measured"
    if pair.crossover is not None:
        return f"{measured}, crossover at {pair.crossover:.2g}"
    if pair.idle >= pair.dense:
        return f"{measured}, no crossover: idle takes more"
    return f"{measured}, " + ("crossover above 1: it always takes less" if pair.rate else "no crossover: nothing fired")


def _draw(axes: Axes, pair: Pair, rates: np.ndarray, name: str, colour: str) -> None:
    axes.plot(rates, NANOJOULE * (pair.idle + pair.slope * rates), color=colour, label=f"spiking, {name}")
    axes.plot(pair.rate, NANOJOULE * pair.measured, "o", color=colour, zorder=4)
    axes.axhline(NANOJOULE * pair.dense, color=colour, linestyle=(0, (4, 3)), label=f"dense, {name}")
    if pair.crossover is not None:
        axes.plot(pair.crossover, NANOJOULE * pair.dense, "x", color=colour, markeredgewidth=2, markersize=8, zorder=4)
        axes.axvline(pair.crossover, color=colour, linestyle=":", linewidth=1.2)


def main(argv: Sequence[str] | None = None) -> None:
    draw(__doc__, argv, lambda rows: snn_energy(pairs(rows)))


if __name__ == "__main__":
    sys.exit(stage.run(main))
