"""Spikes a value against the error of decoded test rows, every spike code and encoder, and the entropy line.

The line: with so many slots for a value, the fewest spikes that tell apart what a uniform quantizer of 2 to 16 bits
does (`evaluation/spike_bound.py`), with signs and without. No code of as many slots that carries those integers, with
one code book for all dimensions, lies to its left; one that quantizes otherwise may.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.plots import style
from pipeline.plots.by_bytes import Cost, by_bytes
from pipeline.plots.distortion_by_bytes import UNIT, signal_to_noise
from pipeline.plots.measurements import Benchmarks
from pipeline.stage import UserError

SPIKES = Cost("spikes_per_value", "spikes per value (log scale)", all_named=True)
MOST_DB = 60.0  # those of 16 bits, and not float32 by transport
DASHES = ((1.0, 1.5), (4.0, 1.5), (6.0, 1.5, 1.0, 1.5))

Bound = Mapping[str, Mapping[tuple[int, bool], Sequence[tuple[float, float]]]]
"""embedding -> (slots, signs or not) -> (spikes a value, signal-to-noise ratio in dB), by rising bits"""


def read_bound(path: Path) -> Bound:
    """Raises UserError for another file than spike_bound.csv."""
    found: dict[str, dict[tuple[int, bool], list[tuple[float, float]]]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                point = float(row["least_spikes_per_value"]), -10 * math.log10(float(row["relative_mse"]))
                found.setdefault(row["embedding"], {}).setdefault(_line(row), []).append(point)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: is not spike_bound.csv ({error})") from None
    return found


def _line(row: Mapping[str, str]) -> tuple[int, bool]:
    signs = {"True": True, "False": False}
    return int(row["slots"]), signs[row["signed"]]


def spikes_by_distortion(benchmarks: Benchmarks, bound: Bound) -> Figure:
    kinds = dict.fromkeys(kind for lines in bound.values() for kind in lines)
    looks: dict[tuple[int, bool], Any] = {
        kind: {"color": style.GREY, "linewidth": 1.0, "dashes": dashes}
        for kind, dashes in zip(kinds, DASHES, strict=False)
    }
    keys = [
        Line2D([], [], label=f"entropy, {slots} slots" + (", signs" if signed else ""), **look)
        for (slots, signed), look in looks.items()
    ]
    figure = by_bytes(
        benchmarks,
        lambda metrics: signal_to_noise(metrics, MOST_DB),
        "Error of vectors decoded from spikes, by spikes per value",
        UNIT,
        "no spikes were decoded",
        SPIKES,
        keys,
    )
    with style.paper():
        for axes, embedding in zip(figure.axes, benchmarks, strict=False):
            if not axes.lines:
                continue
            axes.yaxis.set_major_locator(MaxNLocator(6))
            axes.set_ylabel("")
            axes.set_title(UNIT, loc="right", fontsize=9)
            limits = axes.axis()
            for kind, line in bound.get(embedding, {}).items():
                if kind in looks:
                    axes.plot([x for x, _ in line], [y for _, y in line], **looks[kind])
            axes.axis(limits)
        for text in (text for axes in figure.axes for text in axes.texts):
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8})
        return figure
