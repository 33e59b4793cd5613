"""What the measurements of ours against a peer share: the table that they write."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline import stage, store

COLUMNS = ("what", "size", "unit", "ours", "peer", "peer_value", "ratio")


def write_rows(output: str | Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write rows of `COLUMNS` as a CSV, atomically, and log each."""
    with store.atomic_file(output) as path, open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    for row in rows:
        values = (row["what"], row["ours"], row["peer_value"], row["unit"], row["ratio"])
        stage.log.info("%s: %s against %s %s, ratio %s", *values)
