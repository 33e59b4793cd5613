"""Rows of results/snn.csv: what was measured of a trained network, in the long form.

A row is one number of one network: `network` (spikformer, popspike, spikingjam), `variant` (spiking, dense, a control,
an ablation), `size` (small, base, large), `task`, `metric`, `search` (where a rule ranked, or empty), `seed` (-1 where
none moves it) and `value`; and beside it what the network costs: `parameters`, `timesteps`, `spike_rate` (spikes a
neuron and step), `synaptic_operations` (a token or vector) and its energies in picojoule, `bytes_per_vector` (of what
was searched, a vector in the index); empty where not applicable.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

KEYS = ("network", "variant", "size", "task", "metric", "search")
COSTS = (
    "parameters",
    "timesteps",
    "spike_rate",
    "spikes_per_value",
    "synaptic_operations",
    "energy_compute_pj",
    "energy_memory_pj",
    "train_seconds",
    "bytes_per_vector",
)
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in KEYS),
        ("seed", pa.int32()),
        ("value", pa.float64()),
        *((name, pa.float64()) for name in COSTS),
    ]
)


def table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows by column; what a row does not name is empty. Raises ValueError for a column that there is not, and for a
    row without one of the keys (`search` may be left out), seed or value."""
    found = [dict(row) for row in rows]
    for row in found:
        row.setdefault("search", "")
        if unknown := sorted(row.keys() - set(SCHEMA.names)):
            raise ValueError(f"no column {unknown[0]!r}")
        if missing := [name for name in (*KEYS, "seed", "value") if name not in row]:
            raise ValueError(f"a row without {missing[0]!r}: {row}")
    return pa.Table.from_pylist([{name: row.get(name) for name in SCHEMA.names} for row in found], SCHEMA)
