"""Rows of results/snn.csv of SpikingJam: what its codecs reach, and beside them what they would without training.

    python -m pipeline.evaluation.spikingjam --embedding data/embeddings/minilm.parquet \\
        --codecs results/codecs/minilm/spikingjam --metrics results/metrics/minilm/spikingjam.parquet --seeds 0 1 2 \\
        --queries 500 --output results/snn/spikingjam/minilm.parquet

Makes a Parquet file of the schema of `snn/measurements.py`; task is the table's name, size the representation's.
Variants: `exact`, `spiking` (one neuron a value) and `population` are taken from the metrics file. Controls, on the
same test rows: of the first `spiking` one, `untrained` (principal axes, no attention: what learning adds),
`without_attention` (the trained axes) and `dense` (the same encoder and decoder without spikes, its code d float32
values: what spikes cost; as nothing is left out, it loses but rounding); of each population `population_untrained` (as
many neurons, phases and spikes, and nothing learned).

Task `energy_<table>`: the metrics of `snn/energy.py`, and crossovers with the dense network of equal size (variant
`dense`), counted on the spikes of `COUNTED` test rows.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from pipeline import exhaustive, stage
from pipeline.codec import Array
from pipeline.evaluation import fidelity, retrieval
from pipeline.evaluation.measure import Truth, find_truth
from pipeline.manifest import read_manifest
from pipeline.snn import energy, measurements, spikingjam, spikingjam_operations
from pipeline.snn.spikingjam import Exact, Learned
from pipeline.snn.spikingjam_operations import Network
from pipeline.snn.spikingjam_population import Population
from pipeline.spikes.train import SpikeTrain
from pipeline.split import check_seeds
from pipeline.stage import UserError
from pipeline.store import array_digest, read_embedding, read_parquet, unit_rows, write_parquet

COUNTED = 500  # test rows whose spikes are counted, at most, for energy
VARIANTS: dict[type, str] = {Exact: "exact", Learned: "spiking", Population: "population"}
METRICS = ("exact_codes", "knn10_overlap", "knn10_overlap_unseen", "relative_mse")


def quality(unit: Array, decoded: Array, truth: Truth) -> dict[str, float]:
    """Relative squared error and recall of decoded rows [n, d], as `measure` has them."""
    queries = unit[truth.query_rows]
    found = retrieval.neighbours(exhaustive.inner_product(unit_rows(decoded)), queries, truth.query_rows)
    recall = float(retrieval.overlaps(found, truth.near_all).mean())
    return {"knn10_overlap": recall} | unseen_quality(unit, decoded[truth.split.test], truth)


def unseen_quality(unit: Array, decoded: Array, truth: Truth) -> dict[str, float]:
    """The same of decoded test rows [t, d] alone."""
    test, queries = truth.split.test, unit[truth.query_rows]
    mu = unit[truth.split.fit].mean(axis=0, dtype=np.float64)
    error, spread = fidelity.squared_errors(unit[test], decoded, mu)
    found = retrieval.neighbours(exhaustive.inner_product(unit_rows(decoded)), queries, truth.queries)
    return {
        "knn10_overlap_unseen": float(retrieval.overlaps(found, truth.near_unseen).mean()),
        "relative_mse": float(error.sum() / spread.sum()),
    }


def controls(codec: Learned, unit: Array, truth: Truth) -> Iterator[tuple[str, dict[str, float], Learned | None]]:
    """(variant, quality, codec) of the controls of one learned codec."""
    fit = unit[truth.split.fit]
    axes = spikingjam.rotation(fit, codec.steps, codec.seed, codec.name, training_steps=0)
    plain = replace(codec, shared={}).calibrate(fit, axes, attends=False)
    reached = quality(unit, plain.decode(plain.encode(unit)), truth)
    yield "untrained", reached, plain
    mean, turn = codec.shared["mean"], codec.shared["rotation"]
    if not np.array_equal(turn, plain.shared["rotation"]):  # otherwise it is the same codec
        plain = replace(codec, shared=dict(codec.shared))
        plain.shared["decoder_attention"] = np.zeros_like(codec.shared["decoder_attention"])
        reached = quality(unit, plain.decode(plain.encode(unit)), truth)
    yield "without_attention", reached, plain
    yield "dense", quality(unit, (unit - mean) @ turn @ turn.T + mean, truth), None


def unlearned(codec: Population, unit: Array, truth: Truth) -> tuple[str, dict[str, float], Population]:
    """The control of a population, on test rows alone."""
    fit = unit[truth.split.fit]
    plain = replace(codec, shared={}).calibrate(fit, codec.shared["rotation"], learns=False)
    decoded = plain.decode(plain.encode(unit[truth.split.test]))
    return "population_untrained", unseen_quality(unit, decoded, truth), plain


def energies(codec: Network, train: SpikeTrain, dims: int, key: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the task `energy_<table>` of spikes of test rows, and of the dense network of equal size."""
    own = {"variant": VARIANTS[type(codec)], "spikes_per_value": train.spikes_per_value(dims)}
    task = f"energy_{key['task']}"
    silent = SpikeTrain(np.zeros_like(train.packed), train.neurons)
    idle, measured = (
        energy.rows(spikingjam_operations.spiking(codec, one, dims), len(train), train.timesteps, **key | own)
        for one in (silent, train)
    )
    without = {f"idle_{row['metric']}": row["value"] for row in idle}
    found = [{**row, "value": without.get(row["metric"], row["value"])} for row in measured]
    if not isinstance(codec, Exact):
        dense = spikingjam_operations.dense(codec, len(train), dims)
        other = energy.rows(dense, len(train), None, **key | {"variant": "dense"})
        spiking = {row["metric"]: row["value"] for row in found}
        for row in other:
            if (least := spiking.get(f"idle_{row['metric']}")) is None:
                continue
            rate = energy.crossover(spiking[row["metric"]], least, found[0]["spike_rate"], row["value"])
            if rate is not None:
                found.append({**found[0], "metric": f"crossover_{row['metric']}", "value": rate})
        found += other
    return [{**row, "task": task} for row in found]


def columns(codec: Network | None, of: Network, unit: Array, test: Array) -> dict[str, float | None]:
    """Columns measurements.COSTS of a network, on some test rows; None: the dense one of codec `of`."""
    dims = unit.shape[1]
    if codec is None:
        assert not isinstance(of, Exact)
        found = energy.costs(spikingjam_operations.dense(of, len(test), dims), len(test), None)
        return found | {"parameters": dims * dims + dims}
    train = codec.spike_train(codec.encode(unit[test]))
    found = energy.costs(spikingjam_operations.spiking(codec, train, dims), len(test), codec.timesteps)
    parameters = sum(array.size for array in codec.shared.values())
    return found | {"parameters": parameters, "spikes_per_value": train.spikes_per_value(dims)}


def rows(
    unit: Array, table: str, codecs: Path, digest: str, metrics: pa.Table, seeds: Sequence[int], queries: int
) -> list:
    """The rows of one table [n, d]; `metrics`: the long form that `measure` made of the same codecs.

    Raises UserError for a representation that was not measured, and for one of another family.
    """
    manifest, found = read_manifest(codecs), []
    known = {
        (row["representation"], row["seed"], row["metric"]): row["value"]
        for row in metrics.to_pylist()
        if row["search"] == "decoded" and row["value"] is not None
    }
    with threadpool_limits(1):
        for seed in stage.progress(seeds, f"spikingjam {table}", unit="seed"):
            truth, controlled = find_truth(unit, seed, queries), False
            for name in manifest.files:
                codec = manifest.codec(name, seed, digest)
                if not isinstance(codec, Exact | Learned | Population):
                    raise UserError(f"{codecs}: {name} is no codec of SpikingJam")
                if (spikes := known.get((name, seed, "spikes_per_value"))) is None:
                    raise UserError(f"{name}, seed {seed}: codecs that the metrics file did not measure")
                reached = {one: known[name, seed, one] for one in METRICS if (name, seed, one) in known}
                measured: list[tuple[str, dict[str, float], Network | None]] = [(VARIANTS[type(codec)], reached, codec)]
                if isinstance(codec, Learned) and not controlled:  # of one budget, the first: they cost time
                    measured += controls(codec, unit, truth)
                    controlled = True
                elif isinstance(codec, Population):
                    measured.append(unlearned(codec, unit, truth))
                key: dict[str, Any] = {"network": "spikingjam", "size": name, "task": table, "seed": seed}
                few = truth.split.test[:COUNTED]
                for variant, values, one in measured:
                    cost = columns(one, codec, unit, few)
                    if one is codec:
                        cost["spikes_per_value"] = spikes
                    own = {**key, "variant": variant, "search": "decoded", **cost}
                    found += [{**own, "metric": metric, "value": value} for metric, value in values.items()]
                found += energies(codec, codec.spike_train(codec.encode(unit[few])), unit.shape[1], key)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--embedding", type=Path, required=True, help="embedding table; its file name is its name")
    parser.add_argument("--codecs", type=Path, required=True, help="a directory that pipeline.codecs.fit made")
    parser.add_argument("--metrics", type=Path, required=True, help="what pipeline.evaluation.measure made of it")
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--queries", type=int, default=1000, help="test rows that search, at most")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to make")
    args = parser.parse_args(argv)
    check_seeds(args.seeds)
    if args.queries < 1:
        raise UserError(f"--queries: at least 1 is needed, not {args.queries}")
    table = read_embedding(args.embedding)
    metrics = read_parquet(args.metrics, ["representation", "seed", "metric", "search", "value"])
    known = array_digest(table.vectors)
    found = rows(unit_rows(table.vectors), args.embedding.stem, args.codecs, known, metrics, args.seeds, args.queries)
    write_parquet(args.output, measurements.table(found), {"embedding_digest": known})


if __name__ == "__main__":
    sys.exit(stage.run(main))
