"""The ledger of all representations: what each costs, part by part, and how far its error is from a Gaussian's.

    python -m pipeline.evaluation.compression --benchmarks results/benchmarks.parquet \\
        --embeddings data/embeddings/minilm.parquet --codecs results/codecs/minilm/* --output results/compression.csv

Makes a CSV file with a row for each embedding x representation. Bytes are those of the fitted codecs and of the codes
of the whole table (`ledger` says what is payload, rerank, codebook and decoder); quality is that of the benchmark
table, the mean over the seeds, under the search rule that ranks validation rows best. Both are of the same run: a
directory of codecs whose size is not the one that was measured is refused.

    all_in_ratio_at_N = 4 d N / (N bytes_per_vector + shared_bytes),     distortion_db = 10 log10(relative_mse),
    reference_db: the same at the payload's bits by reverse water-filling (`water_filling`) of the fit rows' covariance,
    gap_db = distortion_db - reference_db.

The reference is no bound: data that are not Gaussian may go below it. It is fitted on rows that the error is not
measured on, and it is of unit rows; lossless codes are of raw ones and have no error, so no gap. Cells without a
meaning are empty.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import stage
from pipeline.codec import Array
from pipeline.evaluation import ledger, water_filling
from pipeline.evaluation.table import write_csv
from pipeline.manifest import Manifest, read_manifest
from pipeline.plots import measurements
from pipeline.plots.measurements import Metrics, Row, average, best, metric
from pipeline.split import check_rows, split
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, array_digest, read_embedding, unit_rows

SIZES = {"at_n": None, "at_1e6": 1_000_000, "at_1e9": 1_000_000_000}  # None: the table's own
QUALITY = ("relative_mse", "cosine", "exact_values", "identity_top1", "knn10_overlap", "knn10_overlap_unseen")
COLUMNS = (
    *("embedding", "representation", "family", "vectors", "dims"),
    *("payload_bytes_per_vector", "rerank_bytes_per_vector", "bytes_per_vector"),
    *("codebook_bytes", "decoder_bytes", "shared_bytes"),
    *(f"all_in_ratio_{size}" for size in SIZES),
    "search",
    *QUALITY,
    *("distortion_db", "reference_db", "gap_db"),
)


def spectra(vectors: Array, seeds: Sequence[int]) -> list[Array]:
    """Eigenvalues of the covariance of each seed's fit rows, made unit."""
    unit = unit_rows(vectors)
    return [water_filling.spectrum(unit[split(len(unit), seed).fit]) for seed in seeds]


def decibels(ratio: float) -> float:
    """10 log10; minus infinity for 0."""
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf


def reference_db(found: Sequence[Array], payload_bytes: float) -> float:
    """The reference's error over the variance at that many bytes a vector, in dB: the mean over the seeds' spectra.

    Minus infinity where there is no variance.
    """
    errors = [water_filling.distortion(one, 8 * payload_bytes) / max(one.sum(), 1e-300) for one in found]
    return decibels(float(np.mean(errors)))


def parts(
    manifest: Manifest, name: str, words: Sequence[str], embedding_digest: str, measured: Metrics
) -> dict[str, float]:
    """The parts of a representation's cost: of the codes the first seed's, of what is shared the mean over the seeds.

    Raises UserError for a file that holds another codec, or other codes, or those of other words or vectors than the
    embedding has, and if they do not add up to what was measured.
    """
    of_seeds = {seed: ledger.shares(manifest.codec(name, seed, embedding_digest)) for seed in manifest.seeds}
    codes = manifest.codes(name, words, embedding_digest)
    folder, first = manifest.folder, manifest.seeds[0]
    _agree(folder, name, "bytes_per_vector", codes.nbytes / len(codes), measured, first)
    for seed, found in of_seeds.items():
        _agree(folder, name, "shared_bytes", sum(found), measured, seed)
    rerank = ledger.rerank_bytes(codes) / len(codes)
    stored = _mean(measured, "bytes_per_vector")
    codebook, decoder = np.mean(list(of_seeds.values()), axis=0).tolist()
    return {
        "payload_bytes_per_vector": stored - rerank,  # strings differ in length from seed to seed
        "rerank_bytes_per_vector": rerank,
        "bytes_per_vector": stored,
        "codebook_bytes": codebook,
        "decoder_bytes": decoder,
        "shared_bytes": codebook + decoder,
    }


def _agree(folder: Path, name: str, what: str, found: float, measured: Metrics, seed: int) -> None:
    scores = measured.get(what, {})
    if seed not in scores or not math.isclose(scores[seed].value, found, rel_tol=1e-9):
        value = scores[seed].value if seed in scores else None
        raise UserError(f"{folder}: {name}, seed {seed}: {what} is {found:g} here and {value} in the benchmark table")


def _mean(measured: Metrics, name: str) -> float:
    score = average(measured.get(name, {}).values())
    return score.value if score else math.nan


def rows_of(
    embedding: str, table: EmbeddingTable, rows: Mapping[Row, Metrics], codecs: Sequence[Path]
) -> Iterator[dict[str, Any]]:
    """The rows of one embedding, in the order of the manifests. `rows`: its part of the benchmark table.

    A representation that stands in two directories has one row; both have to be of the size that was measured.
    """
    seeds = sorted({seed for metrics in rows.values() for seed in metrics.get("vectors", {})})
    found = spectra(table.vectors, seeds)
    vectors_digest = array_digest(table.vectors)
    ruled = best(rows, metric("knn10_overlap"))
    known: set[str] = set()
    for folder in codecs:
        manifest = read_manifest(folder)
        for name in manifest.files:
            measured = [row for row in rows if row.representation == name]
            if not measured:
                raise UserError(f"{folder}: {name} of {embedding} is not in the benchmark table")
            row = ruled[name][0] if name in ruled else measured[0]
            cost = parts(manifest, name, table.words, vectors_digest, rows[row])
            if name not in known:
                known.add(name)
                yield _row(embedding, row, rows[row], cost, table.vectors, found)


def _row(
    embedding: str, row: Row, measured: Metrics, cost: dict[str, float], vectors: Array, found: Sequence[Array]
) -> dict[str, Any]:
    count, dims = vectors.shape
    ratios = {
        f"all_in_ratio_{name}": ledger.all_in_ratio(dims, size or count, cost["bytes_per_vector"], cost["shared_bytes"])
        for name, size in SIZES.items()
    }
    quality = {name: _mean(measured, name) for name in QUALITY}
    distortion = decibels(quality["relative_mse"]) if quality["relative_mse"] >= 0 else math.nan
    reference = reference_db(found, cost["payload_bytes_per_vector"])
    numbers = {
        **{**cost, **ratios, **quality},
        **{"distortion_db": distortion, "reference_db": reference, "gap_db": distortion - reference},
    }
    return {
        **{"embedding": embedding, "representation": row.representation, "family": row.family, "search": row.search},
        **{"vectors": count, "dims": dims},
        **{name: cell(value) for name, value in numbers.items()},
    }


def cell(value: float) -> str:
    """Bytes that are whole in full, other numbers with six digits; empty for what is no number, or infinite."""
    if not math.isfinite(value):
        return ""
    return str(int(value)) if value == int(value) else f"{value:.6g}"


def _check_measured(path: Path, vectors: Array, benchmarks: Sequence[Path]) -> None:
    """Raises UserError, naming the files, if a table that says which vectors it measured says others than these."""
    for table in benchmarks:
        facts = measurements.read_facts(table).get(path.stem)
        if facts and facts["embedding_digest"] != array_digest(vectors):
            raise UserError(f"{table}: {path.stem} was measured on other vectors than {path} holds")


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--benchmarks", nargs="+", type=Path, required=True, help="long tables, as benchmarks.parquet")
    parser.add_argument("--embeddings", nargs="+", type=Path, required=True, help="their file names are their names")
    parser.add_argument("--codecs", nargs="+", type=Path, required=True, help="directories <embedding>/<module> of fit")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    args = parser.parse_args(argv)
    benchmarks = measurements.read_all(args.benchmarks)
    files = ", ".join(map(str, args.benchmarks))
    stems = [path.stem for path in args.embeddings]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise UserError(f"--embeddings: {twice[0]} is given twice")
    folders = {path: [folder for folder in args.codecs if folder.parent.name == path.stem] for path in args.embeddings}
    for folder in args.codecs:
        if folder.parent.name not in stems:
            raise UserError(f"--codecs: {folder}: {folder.parent.name!r} is none of the --embeddings")
    rows: list[dict[str, Any]] = []
    for path in stage.progress(args.embeddings, "ledger", unit=" tables"):
        if path.stem not in benchmarks:
            raise UserError(f"{files}: no row of {path.stem}; it has {', '.join(benchmarks) or 'no rows'}")
        if not folders[path]:
            raise UserError(f"--codecs: no directory is of {path.stem}: {path.stem}/<module> is asked for")
        table = read_embedding(path)
        check_rows(len(table.words), str(path))
        _check_measured(path, table.vectors, args.benchmarks)
        rows += rows_of(path.stem, table, benchmarks[path.stem], folders[path])
    if not rows:
        raise UserError(f"--codecs: {', '.join(map(str, args.codecs))}: none holds a representation")
    write_csv(args.output, COLUMNS, rows)
    stage.log.info("%d rows in %s", len(rows), args.output)


if __name__ == "__main__":
    sys.exit(stage.run(main))
