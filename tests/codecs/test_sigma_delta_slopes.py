"""The theory's exponents and floor on synthetic vectors, by the stage's own functions."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.codecs import projection
from pipeline.codecs.condensation import Window
from pipeline.evaluation import sigma_delta_slopes
from pipeline.evaluation.sigma_delta_slopes import FRAMES, errors, floor, sketches, slope, windows
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, write_embedding


def pairs(count: int, dims: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).standard_normal((2 * count, dims)).astype(np.float32)
    return x[:count], x[count:]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(("order", "exponent", "tolerance"), [(1, -0.5, 0.15), (2, -1.5, 0.25), (3, -2.5, 0.3)])
def test_the_residual_falls_as_the_theory_says(frame: str, order: int, exponent: float, tolerance: float) -> None:
    chosen = windows(order, 32)
    found = errors(*pairs(20, 128), frame, chosen, range(12))
    for error in ("residual", "sketch_error"):
        assert slope([window.steps for window in chosen], found[error]) == pytest.approx(exponent, abs=tolerance)
    assert (np.array(found["residual"]) <= found["sketch_error"]).all()


def test_a_wrong_tap_has_another_slope(monkeypatch) -> None:
    taps = sigma_delta_slopes.sigma_delta.TAPS
    monkeypatch.setitem(taps, 3, {**taps[3], 25: taps[3][25] * 9 / 10})
    chosen = windows(3, 32)
    found = errors(*pairs(20, 128), "gaussian", chosen, range(5))
    assert slope([window.steps for window in chosen], found["residual"]) > -2.2


def test_the_error_that_stays_is_the_floor_of_gaussian_rows() -> None:
    """0.603 / sqrt(p), over 60 draws of A; of order 2 with 129 steps a block quantisation adds next to nothing."""
    p, draws = 64, 60
    window = Window(2, 65, p * 129)
    found = errors(*pairs(50, 32), "gaussian", [window], range(draws))
    assert floor(p) == pytest.approx(0.603 / 8, rel=1e-3)
    assert found["residual"][0] < 0.1 * floor(p)
    assert found["total"][0] == pytest.approx(0.603 / np.sqrt(p), rel=0.05)


def test_hadamard_rows_without_replacement_lower_it() -> None:
    """By about sqrt(1 - p / n), while p is a small part of n; the drives alone, for p rows of n leave no bits to spare.

    More exactly by sqrt(1 - p / (n (pi - 2))): beside the choice of rows, with the finite population's factor, the mean
    of all n values |(H D x)_i| is random too. Their squares have a fixed sum, which leaves a variance of (pi - 3) / pi
    to each, of the (pi - 2) / pi that they had: 1 - p / n + p / n (pi - 3) / (pi - 2).
    """
    dims = 256
    x, y = pairs(100, dims)
    for p in (16, 64, 128, 192, 256):
        window = Window(1, 1, p)
        found = []
        for seed in range(60):
            drive = projection.fast_jl(np.concatenate([x, y]), p, seed)
            _, exact = sketches(drive, window)
            found.append(np.mean(np.abs(np.abs(exact).sum(axis=1) / np.linalg.norm(x - y, axis=1) - 1)))
        assert np.mean(found) == pytest.approx(floor(p) * np.sqrt(1 - p / dims / (np.pi - 2)), rel=0.05)
        if p <= dims / 4:
            assert np.mean(found) == pytest.approx(floor(p) * np.sqrt(1 - p / dims), rel=0.05)


def test_many_blocks_of_hadamard_rows_do_not_degenerate() -> None:
    """A window is longer than n here: it would sum up whole blocks if they stood one behind the other."""
    window = Window(2, 65, 64 * 129)
    assert errors(*pairs(50, 32), "fast_jl", [window], range(20))["total"][0] < 1.1 * floor(64)


def test_the_stage_writes_a_row_an_order_frame_and_size(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sigma_delta_slopes, "BLOCK_SIZES", (8, 16))
    x = pairs(20, 10)[0]
    write_embedding(tmp_path / "toy.parquet", EmbeddingTable([f"w{i}" for i in range(20)], x, {}))
    arguments = ["--embedding", str(tmp_path / "toy.parquet"), "--output", str(tmp_path / "slopes.parquet")]
    sigma_delta_slopes.main([*arguments, "--p", "8", "--pairs", "10", "--draws", "2"])
    table = pq.read_table(tmp_path / "slopes.parquet").to_pylist()
    assert {(row["order"], row["frame"]) for row in table} == {(r, frame) for r in (1, 2, 3) for frame in FRAMES}
    assert len(table) == 12
    for row in table:
        assert row["embedding"] == "toy"
        assert row["m"] == 8 * (row["order"] * (row["length"] - 1) + 1)
        assert row["residual"] > 0
        assert row["floor"] == pytest.approx(floor(8))
    with pytest.raises(UserError, match="must be at least 1"):
        sigma_delta_slopes.main([*arguments, "--draws", "0"])


def test_a_table_of_equal_rows_has_no_distances() -> None:
    with pytest.raises(UserError, match="no two rows of the table differ"):
        sigma_delta_slopes.pick_pairs(np.ones((9, 3), np.float32), 10, 0)
