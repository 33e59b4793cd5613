"""Running words as vectors: how many times smaller the stream is than its float32 vectors, by its length.

Above, everything counted, as far as the corpus goes and as far as it would go with the same bits a token; below, the
bits a token of the words' numbers alone. Lines show what 10,000 times smaller takes, in this table's dimensions and in
WIDE, those of fastText with ada-002: a stream of vectors of d dimensions has to get by on 32 d / 10,000 bits a token.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from pipeline.plots import style
from pipeline.store import read_parquet

TITLE = "The stream of running words against its float32 vectors, all bytes counted"
CLAIM = 10_000
WIDE = 300 + 1536
END = 1e11  # tokens: as far as the lines are drawn on
COLOURS = {"context model": style.VERMILION, "PPMd": style.GREY, "order-0": style.BLUE}
MARKERS = ("o", "s", "^")  # of the tables
TEXT_SIZE = 7.5  # points
LINE_ROOM = 1.45  # of a text, in text sizes


class Part(NamedTuple):
    """A coder's stream of the first `tokens` words, and what it shares with one form of the table."""

    embedding: str
    method: str
    table: str
    dims: int
    tokens: int
    payload_bytes: int
    shared_bytes: int
    ratio_all_in: float
    decoded_bit_exact: bool


def read(path: Path) -> list[Part]:
    """The long form that `pipeline.evaluation.stream` writes. Raises UserError if it is missing, broken or another."""
    columns = read_parquet(path, Part._fields).select(Part._fields).to_pydict()
    return [Part(*values) for values in zip(*columns.values(), strict=True)]


def stream_by_tokens(parts: Sequence[Part]) -> Figure:
    with style.paper():
        if not parts:
            return style.empty_figure(TITLE)
        figure = style.sheet(TITLE, style.WIDTH_INCHES, 8.2)
        above, below = figure.subplots(2, 1, height_ratios=[5, 3])
        dims, tables = parts[0].dims, drawn_tables(parts)
        above.set_title(
            f"{parts[0].embedding}, {dims} dimensions, {max(p.tokens for p in parts):,} words of the corpus"
        )
        below.set_title("The words' numbers alone, without the table")
        _ratios(above, parts, tables)
        _bits(below, [part for part in parts if part.table == tables[0]])
        _legend(figure, parts, tables)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        _name_ends(above, parts, tables)
        return figure


def drawn_tables(parts: Sequence[Part]) -> list[str]:
    """The first table, and of the others the smallest one that is exact and the smallest one that is not."""
    found: dict[str, Part] = {}
    for part in parts:
        found.setdefault(part.table, part)
    first, *others = sorted(found.values(), key=lambda part: (part.table != parts[0].table, part.shared_bytes))
    kinds = ([part.table for part in others if part.decoded_bit_exact is exact][:1] for exact in (True, False))
    return [first.table, *(name for kind in kinds for name in kind)]


def line_of(parts: Sequence[Part], method: str, table: str) -> list[Part]:
    return sorted((p for p in parts if p.method == method and p.table == table), key=lambda part: part.tokens)


def continued(whole: Part, tokens: np.ndarray) -> np.ndarray:
    """The ratio of a longer stream, if a token goes on to cost what it costs in the whole corpus."""
    a_token = whole.payload_bytes / whole.tokens
    return 4 * whole.dims * tokens / (a_token * tokens + whole.shared_bytes)


def methods(parts: Sequence[Part]) -> list[str]:
    return list(dict.fromkeys(part.method for part in parts))


def _colour(method: str) -> str:
    return COLOURS.get(method, style.GREEN)


def _ratios(axes: Axes, parts: Sequence[Part], tables: Sequence[str]) -> None:
    axes.set(xscale="log", yscale="log", xlabel="running words (log scale)", ylabel="times smaller (log scale)")
    low = min(part.ratio_all_in for part in parts if part.table in tables)
    axes.set_xlim(min(part.tokens for part in parts) / 1.5, END)
    axes.set_ylim(low / 2, 3 * CLAIM)
    for table, marker in zip(tables, MARKERS, strict=False):
        for place, method in enumerate(methods(parts)):
            line = line_of(parts, method, table)
            colour = _colour(method)
            onward = np.geomspace(line[-1].tokens, END, 100)
            axes.plot(onward, continued(line[-1], onward), color=colour, linewidth=1.1, linestyle=(0, (2, 1.5)))
            x, y = [part.tokens for part in line], [part.ratio_all_in for part in line]
            # Measured lines lie on each other while the table is nearly all: broad beneath narrow shows them all.
            axes.plot(x, y, color=colour, linewidth=1.1 + 0.9 * (len(methods(parts)) - 1 - place))
        axes.plot(x, y, color="black", linestyle="none", marker=marker, markersize=4)
    dims = parts[0].dims
    for goal in dict.fromkeys((dims, WIDE)):
        level, bits = CLAIM * dims / goal, 32 * goal / CLAIM
        axes.axhline(
            level, color="black", linewidth=1.0 if goal == dims else 0.8, dashes=(6, 2) if goal != dims else ()
        )
        what = f"{CLAIM:,} times in {goal:,} dimensions: {bits:.4g} bits a token"
        axes.text(axes.get_xlim()[0] * 1.3, level * 1.08, what, fontsize=TEXT_SIZE, va="bottom")
    axes.xaxis.set_major_locator(LogLocator(numticks=20))
    axes.yaxis.set_major_locator(LogLocator(numticks=20))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _bits(axes: Axes, parts: Sequence[Part]) -> None:
    """Bits a token, measured, against the lines."""
    axes.set(xscale="log", xlabel="running words (log scale)", ylabel="bits a token")
    for method in methods(parts):
        line = line_of(parts, method, parts[0].table)
        x, y = [part.tokens for part in line], [8 * part.payload_bytes / part.tokens for part in line]
        axes.plot(x, y, color=_colour(method), linewidth=1.1, marker="o", markersize=4, markeredgecolor="white")
        axes.annotate(
            f"{y[-1]:.2f}",
            (x[-1], y[-1]),
            (5, 0),
            textcoords="offset points",
            va="center",
            fontsize=TEXT_SIZE,
            color=_colour(method),
        )
    dims = parts[0].dims
    axes.set_xlim(min(part.tokens for part in parts) / 1.5, max(part.tokens for part in parts) * 1.6)
    axes.set_ylim(0, None)
    for goal in dict.fromkeys((dims, WIDE)):
        bits = 32 * goal / CLAIM
        axes.axhline(bits, color="black", linewidth=1.0 if goal == dims else 0.8, dashes=(6, 2) if goal != dims else ())
        what = f"{CLAIM:,} times in {goal:,} dimensions: {bits:.4g}"
        axes.text(axes.get_xlim()[0] * 1.1, bits + 0.1, what, fontsize=TEXT_SIZE, va="bottom")


def _name_ends(axes: Axes, parts: Sequence[Part], tables: Sequence[str]) -> None:
    """Where each coder's line would end, written below one another in the free corner, the best first."""
    ends = [line_of(parts, method, tables[0])[-1] for method in methods(parts)]
    limits: Mapping[str, float] = {e.method: 4 * e.dims * e.tokens / e.payload_bytes for e in ends}
    texts = ["where the lines end, whatever the table:"]
    colours = ["black"]
    for end in sorted(ends, key=lambda one: -limits[one.method]):
        bits = 8 * end.payload_bytes / end.tokens
        texts.append(f"{end.method}: {limits[end.method]:,.0f} times, at {bits:.2f} bits a token")
        colours.append(_colour(end.method))
    for place, (text, colour) in enumerate(zip(texts, colours, strict=True)):
        offset = LINE_ROOM * TEXT_SIZE * (len(texts) - place)
        axes.annotate(
            text, (0.56, 0.0), (0, offset), "axes fraction", "offset points", fontsize=TEXT_SIZE, color=colour
        )


def _legend(figure: Figure, parts: Sequence[Part], tables: Sequence[str]) -> None:
    keys = [Line2D([], [], color=_colour(method), linewidth=1.1, label=method) for method in methods(parts)]
    for table, marker in zip(tables, MARKERS, strict=False):
        exact = all(part.decoded_bit_exact for part in parts if part.table == table)
        label = f"table: {table}" + ("" if exact else ", not exact")
        keys.append(Line2D([], [], color="black", linestyle="none", marker=marker, label=label, markersize=4))
    keys.append(
        Line2D([], [], color="black", linewidth=1.1, linestyle=(0, (2, 1.5)), label="same bits a token assumed")
    )
    figure.legend(handles=keys, loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
