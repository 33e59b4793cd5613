"""Energy by spike rate: a panel a network, float32 and int8, the spiking network's line and the dense one's.

    python -m pipeline.plots.snn_energy --measurements results/snn.parquet --output results/figures/snn_energy

Energy is a straight line in the spike rate, through the idle and the measured network (pipeline/snn/energy.py); where
it meets the dense network's is the crossover. Makes a PNG and an SVG.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline import stage
from pipeline.plots import style
from pipeline.plots.snn_rows import Row, mean, read

TITLE = "Energy by spike rate (45 nm, memory included)"
PRECISIONS = {"": ("float32", style.BLUE), "_int8": ("int8", style.VERMILION)}
WIDEST_RATE = 0.5
WANTED = (("spiking", "memory"), ("spiking", "idle_memory"), ("dense", "memory"))  # variant, metric
NANOJOULE = 1e-3  # of a picojoule


class Pair(NamedTuple):
    """Energies in pJ of a sample: the spiking network as measured at `rate` and idle, and the dense one."""

    measured: float
    idle: float
    rate: float
    dense: float


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
        figure = style.sheet(TITLE, max(4.5, 4 * len(networks)), 3.8)
        for axes, (name, found) in zip(
            figure.subplots(1, len(networks), squeeze=False)[0], networks.items(), strict=True
        ):
            axes.set(title=name, xlabel="spikes a neuron and step", ylabel="nJ a sample", yscale="log")
            for suffix, pair in found.items():
                _draw(axes, pair, *PRECISIONS[suffix])
            axes.set_xlim(0, None)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
        return figure


def _draw(axes: Axes, pair: Pair, name: str, colour: str) -> None:
    slope = (pair.measured - pair.idle) / pair.rate if pair.rate else 0.0
    rates = np.linspace(0, max(WIDEST_RATE, 1.2 * pair.rate), 200)
    axes.plot(rates, NANOJOULE * (pair.idle + slope * rates), color=colour, label=f"spiking, {name}")
    axes.plot(pair.rate, NANOJOULE * pair.measured, "o", color=colour)
    axes.axhline(NANOJOULE * pair.dense, color=colour, linestyle=(0, (4, 3)), label=f"dense, {name}")
    if slope and 0 < (at := (pair.dense - pair.idle) / slope) < rates[-1]:
        axes.plot(at, NANOJOULE * pair.dense, "x", color=colour)
        axes.annotate(f"{at:.2g}", (at, NANOJOULE * pair.dense), (3, 4), textcoords="offset points", fontsize=8)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--measurements", type=Path, required=True, help="results/snn.parquet")
    parser.add_argument("--output", type=Path, required=True, help="figure to make, without suffix")
    arguments = parser.parse_args(argv)
    for path in style.write(snn_energy(pairs(read(arguments.measurements))), arguments.output):
        stage.log.info("wrote %s", path)


if __name__ == "__main__":
    sys.exit(stage.run(main))
