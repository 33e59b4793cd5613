"""The entropy line: entropies against loops, errors against the codec of the same integers, the stage."""

import csv
from collections import Counter
from math import log2

import numpy as np
import pytest

from pipeline import stage
from pipeline.evaluation.spike_bound import BITS, SLOTS, bounds, entropy, main, quantized
from pipeline.spikes.calibration import Choice
from pipeline.spikes.entropy_bound import least_spikes
from pipeline.spikes.phase import Phase
from pipeline.split import split
from pipeline.store import EmbeddingTable, unit_rows, write_embedding


@pytest.fixture(scope="module")
def unit():
    return unit_rows(np.random.default_rng(0).standard_normal((300, 6)).astype(np.float32))


def test_entropy_is_that_of_the_pooled_histogram():
    values = np.random.default_rng(1).integers(0, 5, (40, 3))
    counts = Counter(values.ravel().tolist())
    assert entropy(values) == pytest.approx(sum(n / 120 * log2(120 / n) for n in counts.values()))
    assert entropy(np.zeros((3, 2), int)) == 0


def test_rate_and_error_are_those_of_a_phase_code(unit):
    rate, error = quantized(unit, 1, 5)
    parts = split(len(unit), 1)
    codec = Phase("phase_5", 0, steps=5).fit(unit[parts.fit])
    test = unit[parts.test]
    assert rate == entropy(codec.integers(test))
    lost = np.square(test - codec.decode(codec.encode(test)), dtype=np.float64).sum()
    assert error == pytest.approx(
        lost / np.square(test - unit[parts.fit].mean(axis=0), dtype=np.float64).sum(), rel=1e-5
    )


def test_rows_are_means_over_seeds(unit):
    rows = bounds("toy", unit, [0, 1])
    assert [(row.bits, (row.slots, row.signed)) for row in rows] == [(bits, kind) for bits in BITS for kind in SLOTS]
    row = next(row for row in rows if (row.bits, row.slots, row.signed) == (8, 16, True))
    of_seeds = [quantized(unit, seed, 8) for seed in (0, 1)]
    assert row.entropy_bits == pytest.approx(np.mean([rate for rate, _ in of_seeds]))
    assert row.relative_mse == pytest.approx(np.mean([error for _, error in of_seeds]))
    assert row.least_spikes_per_value == pytest.approx(np.mean([least_spikes(rate, 16, True) for rate, _ in of_seeds]))


def test_the_stage_writes_all_tables_and_refuses_one_twice(unit, tmp_path, capsys):
    path = tmp_path / "toy.parquet"
    write_embedding(path, EmbeddingTable([f"w{i}" for i in range(len(unit))], unit))
    output = tmp_path / "bound.csv"
    assert stage.run(main, ["--embeddings", str(path), "--seeds", "0", "--output", str(output)]) == 0
    with open(output, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(BITS) * len(SLOTS)
    assert rows[0]["embedding"] == "toy"
    assert stage.run(main, ["--embeddings", str(path), str(path), "--seeds", "0", "--output", str(output)]) == 1
    assert "toy is given twice" in capsys.readouterr().err


def test_the_range_of_the_whole_table_is_another_quantizer(unit):
    wide = unit * np.array([1, 1, 1, 1, 1, 9], np.float32)
    assert quantized(wide, 0, 4, Choice(per="table"))[0] < quantized(wide, 0, 4)[0]
