"""What the measurements of ours against a peer share: the clock, turns and medians, and the table that they write."""

import csv
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline import stage, store

COLUMNS = ("what", "size", "unit", "ours", "peer", "peer_value", "ratio")


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes once."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def medians(runs: int, what: str, *sides: Callable[[], object]) -> list[float]:
    """Seconds of each side, medians of `runs` turns, after one that is not counted (compiling, first touches)."""
    for side in sides:
        side()
    turns = [[seconds(side) for side in sides] for _ in stage.progress(range(runs), what, unit=" runs")]
    return [statistics.median(one) for one in zip(*turns, strict=True)]


def row(
    what: str, size: str, unit: str, ours: float, peer: str, peer_value: float, digits: int = 0, less: bool = False
) -> dict[str, str]:
    """A row of the table: both values in `unit` to so many digits; above a ratio of 1 ours is better.

    `less` says that the smaller value is the better one (seconds, bytes).
    """
    return {
        **alone(what, size, unit, ours, digits),
        **{"peer": peer, "peer_value": f"{peer_value:.{digits}f}"},
        "ratio": f"{peer_value / ours if less else ours / peer_value:.3f}",
    }


def alone(what: str, size: str, unit: str, ours: float, digits: int = 0) -> dict[str, str]:
    """A row of what no other program is measured at: no peer, no value of it, no ratio."""
    return {
        **{"what": what, "size": size, "unit": unit, "ours": f"{ours:.{digits}f}"},
        **dict.fromkeys(("peer", "peer_value", "ratio"), ""),
    }


def write_rows(output: str | Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write rows of `COLUMNS` as a CSV, atomically, and log each."""
    with store.atomic_file(output) as path, open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    for row in rows:
        against = f" against {row['peer_value']}" if row["peer"] else ""
        ratio = f", ratio {row['ratio']}" if row["ratio"] else ""
        stage.log.info("%s: %s%s %s%s", row["what"], row["ours"], against, row["unit"], ratio)
