"""How much of float32's analogies a code keeps: right answers of the code over those of the vectors themselves.

    python -m pipeline.evaluation.analogy_share --embedding data/embeddings/minilm.parquet \\
        --codecs results/codecs/minilm/matryoshka results/codecs/minilm/bit_planes --benchmarks data/benchmarks \\
        --seeds 0 1 2 --output results/analogy_share/minilm.csv

Makes a CSV file with a row for each representation and rule that needs no float vector (`decoded`; `hamming` where a
code has it): `analogy`, the share of all covered questions, semantic and syntactic together, that 3CosAdd answers, mean
over the seeds; `float32`, that of the vectors; and `share`, their ratio, with its 95 % bootstrap interval. The interval
is paired: questions are resampled, each with what the code made of it (mean over the seeds) and what the vectors did.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline import stage, word_analogy
from pipeline.codec import Array, Codec, Comparable, input_of
from pipeline.evaluation.statistics import ratio
from pipeline.evaluation.table import write_csv
from pipeline.evaluation.word_rows import word_rows
from pipeline.manifest import Manifest, read_manifest
from pipeline.split import check_seeds
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, array_digest, read_embedding, read_parquet, unit_rows


class Share(NamedTuple):
    """A row of the file."""

    embedding: str
    representation: str
    search: str
    bytes_per_vector: float
    analogy: float
    float32: float
    share: float
    share_low: float
    share_high: float
    questions: int
    seeds: int


def answered(
    codec: Codec, table: EmbeddingTable, unit: Array, questions: word_analogy.Questions
) -> tuple[float, dict[str, Array]]:
    """Bytes a vector, and by rule whether each question is answered, float64 [questions]."""
    codes = codec.encode(input_of(codec, table.vectors, unit))
    found = {}
    if codec.decodes:
        decoded = unit_rows(codec.decode(codes))
        found["decoded"] = word_analogy.add(decoded[questions.asked] @ decoded.T, questions)
    if isinstance(codec, Comparable):
        for rule in codec.compares:
            found[rule] = word_analogy.add(codec.similarity(rule, codes.take(questions.asked), codes), questions)
    return codes.nbytes / len(codes), found


def shares(
    name: str,
    table: EmbeddingTable,
    questions: word_analogy.Questions,
    manifest: Manifest,
    seeds: Sequence[int],
) -> Iterator[Share]:
    """The rows of an embedding, of all representations of a module's directory."""
    unit, vectors_digest = unit_rows(table.vectors), array_digest(table.vectors)
    right = word_analogy.add(unit[questions.asked] @ unit.T, questions)
    for representation in stage.progress(list(manifest.files), f"analogies {name}", unit="codec"):
        sizes, rules = list[float](), list[dict[str, Array]]()
        for seed in seeds:
            codec = manifest.codec(representation, seed, vectors_digest)
            size, found = answered(codec, table, unit, questions)
            sizes, rules = [*sizes, size], [*rules, found]
        for rule in rules[0]:
            mean = np.mean([found[rule] for found in rules], axis=0)
            scores = float(mean.mean()), float(right.mean()), *ratio(mean, right)
            yield Share(name, representation, rule, float(np.mean(sizes)), *scores, len(right), len(seeds))


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--embedding", type=Path, required=True, help="embedding table; its file name is its name")
    parser.add_argument("--codecs", type=Path, nargs="+", required=True, help="directories of pipeline.codecs.fit")
    parser.add_argument("--benchmarks", type=Path, required=True, help="what pipeline.evaluation.sets made")
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True, help="CSV file to make")
    args = parser.parse_args(argv)
    check_seeds(args.seeds)
    table = read_embedding(args.embedding)
    name = args.embedding.stem
    questions = word_analogy.covered(
        read_parquet(args.benchmarks / "analogy.parquet", ["kind", *"abcd"]), word_rows(table)
    )
    if not len(questions.answers):
        raise UserError(f"{args.embedding}: none of {sum(questions.totals)} analogy questions has all its words there")
    rows: list[Share] = []
    for folder in args.codecs:
        manifest = read_manifest(folder)
        with threadpool_limits(1):
            rows += shares(name, table, questions, manifest, args.seeds)
    write_csv(args.output, Share._fields, [row._asdict() for row in rows])
    for row in rows:
        interval = f"[{row.share_low:.3f}, {row.share_high:.3f}]"
        stage.log.info("%s %s: %.3f of float32 %s", row.representation, row.search, row.share, interval)


if __name__ == "__main__":
    sys.exit(stage.run(main))
