"""Every shipped representation on tables of unusual size and scale: a number or an empty cell, never a traceback."""

import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from pipeline.codecs.fit import fit_module
from pipeline.evaluation.measure import measure_module
from pipeline.store import EmbeddingTable, write_parquet

ROOT = Path(__file__).parent.parent.parent
SHIPPED = yaml.safe_load((ROOT / "config/config.yaml").read_text())["representations"]


@pytest.fixture
def benchmarks(tmp_path: Path) -> Path:
    """A similarity set and analogies about words that no table has."""
    pairs = pa.table({"word1": ["qqa"], "word2": ["qqb"], "score": [1.0]})
    write_parquet(tmp_path / "benchmarks/similarity/made_up.parquet", pairs)
    questions = pa.table({"kind": ["semantic"], **{name: [f"qq{name}"] for name in "abcd"}})
    write_parquet(tmp_path / "benchmarks/analogy.parquet", questions)
    return tmp_path / "benchmarks"


def measured(table: EmbeddingTable, module: str, benchmarks: Path, folder: Path) -> list[dict]:
    fit_module(table, module, SHIPPED[module], [0], folder / module)
    return measure_module(table, "toy", folder / module, benchmarks, [0], 100).to_pylist()


@pytest.mark.parametrize("module", SHIPPED)
@pytest.mark.parametrize(("rows", "dims"), [(12, 8), (40, 1), (60, 140)])
def test_a_table_of_a_few_rows(module: str, rows: int, dims: int, benchmarks: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((rows, dims)).astype(np.float32)
    found = measured(EmbeddingTable([f"w{i}" for i in range(rows)], x), module, benchmarks, tmp_path)
    for one in found:
        if one["metric"] in ("knn10_overlap", "knn10_overlap_unseen"):
            assert 0 <= one["value"] <= 1
        if one["metric"] == "made_up":
            assert np.isnan(one["value"])
            assert (one["covered"], one["total"]) == (0, 1)


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_values_of_unusual_scale(scale: float, benchmarks: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((60, 8))
    words = [f"w{i}" for i in range(60)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        usual = measured(EmbeddingTable(words, x.astype(np.float32)), "scalar", benchmarks, tmp_path / "usual")
        found = measured(EmbeddingTable(words, (x * scale).astype(np.float32)), "scalar", benchmarks, tmp_path)
        exact = measured(EmbeddingTable(words, (x * scale).astype(np.float32)), "floats", benchmarks, tmp_path)
    for one, other in zip(found, usual, strict=True):  # rows are of unit norm, so the scale changes nothing
        if one["metric"] in ("relative_mse", "cosine", "distance_mape"):
            for number in ("value", "ci_low", "ci_high"):
                assert one[number] == pytest.approx(other[number], rel=1e-3)
    for one in exact:
        if one["representation"] == "float32" and one["metric"] in ("relative_mse", "distance_mape"):
            assert (one["value"], one["ci_low"], one["ci_high"]) == (0, 0, 0)


def test_no_speed_is_given_for_a_search_that_is_not_the_peers(benchmarks: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((60, 16)).astype(np.float32)
    found = measured(
        EmbeddingTable([f"w{i}" for i in range(60)], x), "sentence_transformers_peers", benchmarks, tmp_path
    )
    timed = {one["search"] for one in found if one["metric"] == "queries_per_s"}
    assert timed == {"decoded"}
