"""The share of analogies that a code keeps: against a loop over questions, and the stage's rows and refusals."""

import csv

import numpy as np
import pyarrow as pa
import pytest

from pipeline import stage, word_analogy
from pipeline.codecs.fit import fit_module
from pipeline.evaluation.analogy_share import answered, main
from pipeline.evaluation.statistics import ratio
from pipeline.manifest import read_manifest
from pipeline.store import EmbeddingTable, array_digest, unit_rows, write_embedding, write_parquet


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A folder with a table of words on a noisy grid, questions about them, and fitted codecs."""
    folder, rng = tmp_path_factory.mktemp("toy"), np.random.default_rng(0)
    first, second = rng.standard_normal((2, 12, 16))
    vectors = (first[:, None] + second[None]).reshape(144, 16) + 0.3 * rng.standard_normal((144, 16))
    words = [f"w{i}x{j}" for i in range(12) for j in range(12)]
    table = EmbeddingTable(words, vectors.astype(np.float32))
    write_embedding(folder / "toy.parquet", table)
    draws = rng.integers(0, 12, (80, 4))
    draws = draws[(draws[:, 0] != draws[:, 1]) & (draws[:, 2] != draws[:, 3])]
    a, b, c, d = ([f"w{i}x{j}" for i, j in draws[:, pair]] for pair in ([0, 2], [1, 2], [0, 3], [1, 3]))
    write_parquet(
        folder / "benchmarks/analogy.parquet",
        pa.table({"kind": ["semantic"] * len(a), "a": a, "b": b, "c": c, "d": d}),
    )
    fit_module(table, "binary", ["sign", "sign_centered"], [0, 1], folder / "binary")
    return folder, table, draws


def arguments(folder, table="toy.parquet"):
    return [
        *("--embedding", str(folder / table), "--codecs", str(folder / "binary"), "--seeds", "0", "1"),
        *("--benchmarks", str(folder / "benchmarks"), "--output", str(folder / "share.csv")),
    ]


def test_shares_are_those_of_a_loop_over_questions(toy):
    folder, table, draws = toy
    assert stage.run(main, arguments(folder)) == 0
    with open(folder / "share.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["representation"], row["search"]) for row in rows} == {
        (name, rule) for name in ("sign", "sign_centered") for rule in ("decoded", "hamming")
    }
    unit = unit_rows(table.vectors)

    def right(space):
        found = []
        for i, j, k, m in draws:
            a, b, c, d = i * 12 + k, j * 12 + k, i * 12 + m, j * 12 + m
            scores = space @ (space[b] - space[a] + space[c])
            scores[[a, b, c]] = -np.inf
            found.append(float(np.argmax(scores) == d))
        return np.mean(found)

    mu = [read_manifest(folder / "binary").codec("sign_centered", s, array_digest(table.vectors)) for s in (0, 1)]
    decoded = np.mean([right(unit_rows(codec.decode(codec.encode(unit)))) for codec in mu])
    row = next(row for row in rows if (row["representation"], row["search"]) == ("sign_centered", "decoded"))
    assert float(row["float32"]) == pytest.approx(right(unit))
    assert float(row["analogy"]) == pytest.approx(decoded, abs=0.02)  # ties are shared, here they go to the first
    assert float(row["share"]) == pytest.approx(float(row["analogy"]) / float(row["float32"]))
    assert float(row["share_low"]) < float(row["share"]) < float(row["share_high"])
    assert (int(row["questions"]), int(row["seeds"]), float(row["bytes_per_vector"])) == (len(draws), 2, 2)


def test_the_interval_is_paired(toy):
    """Of what answers the same questions the interval is a point, however few are right."""
    folder, table, _ = toy
    unit = unit_rows(table.vectors)
    questions = word_analogy.covered(
        pa.table({"kind": ["semantic"], "a": ["w0x0"], "b": ["w1x0"], "c": ["w0x1"], "d": ["w1x1"]}), table.rows()
    )
    codec = read_manifest(folder / "binary").codec("sign", 0, array_digest(table.vectors))
    size, found = answered(codec, table, unit, questions)
    assert size == 2
    assert set(found) == {"decoded", "hamming"}
    same = np.array([1.0, 0, 1, 0, 0])
    assert ratio(same, same)[1:] == (1, 1)


def test_a_table_without_a_question_is_refused(toy, capsys):
    folder, table, _ = toy
    write_embedding(folder / "other.parquet", EmbeddingTable([f"q{i}" for i in range(144)], table.vectors))
    assert stage.run(main, arguments(folder, "other.parquet")) == 1
    assert "none of" in capsys.readouterr().err
