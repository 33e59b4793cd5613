"""What the measurements of ours against a peer share: the clock, and the table that they write."""

import csv
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


def row(
    what: str, size: str, unit: str, ours: float, peer: str, peer_value: float, digits: int = 0, less: bool = False
) -> dict[str, str]:
    """A row of the table: both values in `unit` to so many digits; above a ratio of 1 ours is better.

    `less` says that the smaller value is the better one (seconds, bytes).
    """
    return {
        **{"what": what, "size": size, "unit": unit, "ours": f"{ours:.{digits}f}"},
        **{"peer": peer, "peer_value": f"{peer_value:.{digits}f}"},
        "ratio": f"{peer_value / ours if less else ours / peer_value:.3f}",
    }


def write_rows(output: str | Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write rows of `COLUMNS` as a CSV, atomically, and log each."""
    with store.atomic_file(output) as path, open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    for row in rows:
        values = (row["what"], row["ours"], row["peer_value"], row["unit"], row["ratio"])
        stage.log.info("%s: %s against %s %s, ratio %s", *values)
