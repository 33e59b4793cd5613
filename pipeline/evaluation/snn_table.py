"""Stage: join what was measured of trained networks: a row a network, variant, size, task, metric and search.

    python -m pipeline.evaluation.snn_table --measurements results/snn/*.parquet --output results/snn

Takes   files of pipeline/snn/measurements.py's schema.
Makes   <output>.parquet, all of their rows, a seed each; and <output>.csv: the mean `value` over seeds, Student's 95 %
        interval of it (`value_t_low`, `value_t_high`; of one seed there is none), the means of the costs, and `seeds`.

Where a network's energy was measured beside that of its dense pair (`variant` spiking and dense of one network and
size), rows of task `energy` are added: `crossover_<energy>`, the spike rate at which both take the same (energy.py).
No row where the spiking network takes more even if no neuron fires.
"""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import stage, store
from pipeline.evaluation.statistics import paired
from pipeline.evaluation.table import write_csv
from pipeline.snn import energy
from pipeline.snn.measurements import COSTS, KEYS, SCHEMA, table
from pipeline.stage import UserError

COLUMNS = (*KEYS, "value", "value_t_low", "value_t_high", *COSTS, "seeds")
ENERGIES = tuple(f"{kind}_pj{suffix}" for kind in ("compute", "memory") for suffix in energy.PRECISIONS)

Row = Mapping[str, Any]


def read(path: Path) -> pa.Table:
    """Measurements. Raises UserError, naming the file, for one of other columns, and without a key, seed or value."""
    found = store.read_parquet(path)
    if found.schema.names != SCHEMA.names:
        raise UserError(f"{path}: its columns are not those of measurements of trained networks")
    try:
        found = found.cast(SCHEMA)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: its columns are not those of measurements of trained networks ({error})") from None
    for name in (*KEYS, "seed", "value"):
        if found[name].null_count:
            raise UserError(f"{path}: a row without {name!r}")
    return found


def crossovers(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The rows `crossover_<energy>`, for each seed that a spiking network has; the dense one's energy does not move."""
    found = [row for row in rows if row["task"] == "energy"]
    dense = {(r["network"], r["size"], r["metric"]): r["value"] for r in found if r["variant"] == "dense"}
    spiking = {(r["network"], r["size"], r["metric"], r["seed"]): r for r in found if r["variant"] == "spiking"}
    added = []
    for (network, size, metric, seed), row in spiking.items():
        idle = spiking.get((network, size, f"idle_{metric}", seed))
        other = dense.get((network, size, metric))
        if metric not in ENERGIES or idle is None or other is None or row["spike_rate"] is None:
            continue
        rate = energy.crossover(row["value"], idle["value"], row["spike_rate"], other)
        if rate is not None:
            added.append({**row, "metric": f"crossover_{metric}", "value": rate})
    return added


def wide(rows: Iterable[Row]) -> list[dict[str, str]]:
    """A row a key in the order of first appearance. Raises UserError for a key measured twice with one seed."""
    groups: dict[tuple[str, ...], dict[int, Row]] = {}
    for row in rows:
        key = tuple(row[name] for name in KEYS)
        if row["seed"] in groups.setdefault(key, {}):
            raise UserError(f"measured twice: {' '.join(filter(None, key))}, seed {row['seed']}")
        groups[key][row["seed"]] = row
    return [_mean(key, list(found.values())) for key, found in groups.items()]


def _mean(key: tuple[str, ...], rows: Sequence[Row]) -> dict[str, str]:
    value = paired([row["value"] for row in rows])
    cells = {"value": value.value, "value_t_low": value.low, "value_t_high": value.high}
    for name in COSTS:
        there = [row[name] for row in rows if row[name] is not None]
        cells[name] = sum(there) / len(there) if there else math.nan
    named = dict(zip(KEYS, key, strict=True))
    return named | {name: _text(number) for name, number in cells.items()} | {"seeds": str(len(rows))}


def _text(number: float) -> str:
    if not math.isfinite(number):
        return ""
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else f"{number:.6g}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--measurements", nargs="+", type=Path, required=True, help="Parquet files")
    parser.add_argument("--output", type=Path, required=True, help="path without .csv and .parquet")
    arguments = parser.parse_args(argv)
    rows = pa.concat_tables([read(path).replace_schema_metadata() for path in arguments.measurements]).to_pylist()
    if not rows:
        raise UserError(f"{', '.join(map(str, arguments.measurements))}: no measurement in any of them")
    rows += crossovers(rows)
    lines = wide(rows)
    store.write_parquet(store.with_ending(arguments.output, ".parquet"), table(rows))
    write_csv(store.with_ending(arguments.output, ".csv"), COLUMNS, lines)
    stage.log.info("%d rows in %s.csv", len(lines), arguments.output)


if __name__ == "__main__":
    sys.exit(stage.run(main))
