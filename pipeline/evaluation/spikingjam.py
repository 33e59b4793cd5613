"""Rows of results/snn.csv of SpikingJam: what its codecs reach, and beside them what they would without training.

    python -m pipeline.evaluation.spikingjam --embedding data/embeddings/minilm.parquet \\
        --codecs results/codecs/minilm/spikingjam --metrics results/metrics/minilm/spikingjam.parquet --seeds 0 1 2 \\
        --queries 500 --output results/snn/spikingjam/minilm.parquet

Makes a Parquet file of the schema of `snn/measurements.py`; task is the table's name, size the representation's.
Variants: `exact` and `spiking` are taken from the metrics file. Controls, on the same test rows: `untrained`
(principal axes, no attention: what learning adds), `without_attention` (the trained axes) and `dense` (the same encoder
and decoder without spikes, its code d float32 values: what spikes cost; as nothing is left out, it loses but rounding).
It is here, not in `snn`, since it measures as the table does.
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
from pipeline.snn import measurements, spikingjam
from pipeline.split import check_seeds
from pipeline.stage import UserError
from pipeline.store import array_digest, read_embedding, read_parquet, unit_rows, write_parquet

METRICS = ("exact_codes", "knn10_overlap", "knn10_overlap_unseen", "relative_mse")


def quality(unit: Array, decoded: Array, truth: Truth) -> dict[str, float]:
    """Relative squared error and recall of decoded rows [n, d], as `measure` has them."""
    test, queries = truth.split.test, unit[truth.query_rows]
    mu = unit[truth.split.fit].mean(axis=0, dtype=np.float64)
    error, spread = fidelity.squared_errors(unit[test], decoded[test], mu)
    base = unit_rows(decoded)
    found = retrieval.neighbours(exhaustive.inner_product(base), queries, truth.query_rows)
    unseen = retrieval.neighbours(exhaustive.inner_product(base[test]), queries, truth.queries)
    return {
        "knn10_overlap": float(retrieval.overlaps(found, truth.near_all).mean()),
        "knn10_overlap_unseen": float(retrieval.overlaps(unseen, truth.near_unseen).mean()),
        "relative_mse": float(error.sum() / spread.sum()),
    }


def costs(codec: spikingjam.Exact | spikingjam.Learned, dims: int, spikes: float | None) -> dict[str, float]:
    """Columns of a network of `dims` values; `spikes` a value, None for the dense one.

    Operations a vector: a learned code's drive and reading are dense, d^2 multiply-adds each, and its spikes are added
    once each; of the exact code each spike is one addition.
    """
    parameters = sum(array.size for array in codec.shared.values())
    learned = isinstance(codec, spikingjam.Learned)
    dense = 2.0 * dims * dims if learned else 0.0
    if spikes is None:
        return {"parameters": dims * dims + dims, "synaptic_operations": dense}
    found = {"parameters": parameters, "timesteps": codec.timesteps, "spikes_per_value": spikes}
    found["spike_rate"] = spikes * dims / (codec.neurons * codec.timesteps)
    found["synaptic_operations"] = dense + spikes * dims
    return found


def controls(
    codec: spikingjam.Learned, unit: Array, truth: Truth
) -> Iterator[tuple[str, dict[str, float], float | None]]:
    """(variant, quality, spikes a value) of the controls of one learned codec."""
    axes = spikingjam.rotation(unit[truth.split.fit], codec.steps, codec.seed, codec.name, training_steps=0)
    plain = replace(codec, shared={}).calibrate(unit[truth.split.fit], axes)
    for variant, one in (("untrained", plain), ("without_attention", replace(codec, shared=dict(codec.shared)))):
        one.shared["decoder_attention"] = np.zeros_like(one.shared["decoder_attention"])
        codes = one.encode(unit)
        spikes = one.spike_train(codes.take(truth.split.test)).spikes_per_value(unit.shape[1])
        yield variant, quality(unit, one.decode(codes), truth), spikes
    mean, turn = codec.shared["mean"], codec.shared["rotation"]
    yield "dense", quality(unit, (unit - mean) @ turn @ turn.T + mean, truth), None


def rows(
    unit: Array, table: str, codecs: Path, digest: str, metrics: pa.Table, seeds: Sequence[int], queries: int
) -> list:
    """The rows of one table [n, d]; `metrics`: the long form that `measure` made of the same codecs.

    Raises UserError for a representation that was not measured.
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
                assert isinstance(codec, spikingjam.Exact | spikingjam.Learned)
                if (spikes := known.get((name, seed, "spikes_per_value"))) is None:
                    raise UserError(f"{name}, seed {seed}: codecs that the metrics file did not measure")
                learned = isinstance(codec, spikingjam.Learned)
                reached = {one: known[name, seed, one] for one in METRICS if (name, seed, one) in known}
                measured: list[tuple[str, dict[str, float], float | None]] = [
                    ("spiking" if learned else "exact", reached, spikes)
                ]
                if isinstance(codec, spikingjam.Learned) and not controlled:  # of one budget, the first: they cost time
                    measured += controls(codec, unit, truth)
                    controlled = True
                for variant, values, rate in measured:
                    key: dict[str, Any] = {"network": "spikingjam", "variant": variant, "size": name, "task": table}
                    key |= {"search": "decoded", "seed": seed, **costs(codec, unit.shape[1], rate)}
                    found += [{**key, "metric": metric, "value": value} for metric, value in values.items()]
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
