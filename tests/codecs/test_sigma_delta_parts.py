"""Frames, condensation, dual frames and the ridge, each against an independent way to the same numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard

from pipeline.codec import NotApplicableError
from pipeline.codecs import condensation, dual, projection, ridge
from pipeline.codecs.condensation import Window
from pipeline.neurons import sigma_delta
from pipeline.stage import UserError

STREAM_OF_7 = [11530976094092348043, 16550673365885938325, 14308875409591826786]
FAST_JL_OF_1 = [[1, -1, -1, -1], [-1, -1, -1, 1], [1, -1, 1, 1], [-1, -1, 1, -1], [1, 1, -1, 1], [-1, 1, -1, -1]]
FRAMES = (projection.fast_jl, projection.sparse_gaussian, projection.dense_gaussian)


def normal(rows: int, dims: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32)


def matrix(draw, dims: int, steps: int, seed: int = 0) -> np.ndarray:
    return draw(np.eye(dims, dtype=np.float32), steps, seed)


# --- frames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dims", "steps"), [(1, 1), (1, 9), (5, 3), (8, 8), (12, 50), (100, 700)])
def test_fast_jl_is_hadamard_rows_times_signs(dims: int, steps: int) -> None:
    order = projection.padded(dims)
    blocks = -(-steps // order)
    found = matrix(projection.fast_jl, dims, steps, 3)
    raw = projection.words(3, 2 * blocks * order).reshape(2, blocks, order)
    for i, row in enumerate(found):
        block, place = i % blocks, i // blocks
        signs = np.where(raw[0, block] >= 2**63, 1, -1)
        np.testing.assert_array_equal(row, (hadamard(order)[np.argsort(raw[1, block])[place]] * signs)[:dims])


def test_of_fast_jl_no_row_of_a_block_stands_twice() -> None:
    found = matrix(projection.fast_jl, 64, 64 * 3)
    for block in range(3):
        np.testing.assert_allclose(found[block::3] @ found[block::3].T, 64 * np.eye(64))


@pytest.mark.parametrize("draw", FRAMES)
def test_a_frame_is_a_linear_map_that_the_seed_makes(draw) -> None:
    x = normal(150, 21)
    frame = matrix(draw, 21, 90, 5)
    np.testing.assert_allclose(draw(x, 90, 5), frame @ x.T, atol=1e-4)
    np.testing.assert_array_equal(frame, matrix(draw, 21, 90, 5))
    assert (frame != matrix(draw, 21, 90, 6)).any()


@pytest.mark.parametrize("draw", FRAMES)
def test_entries_have_mean_0_and_variance_1(draw) -> None:
    frame = matrix(draw, 100, 2000).astype(np.float64)
    assert frame.mean() == pytest.approx(0, abs=0.02)
    assert (frame**2).mean() == pytest.approx(1, abs=0.02)
    share = {projection.fast_jl: 1, projection.sparse_gaussian: projection.DENSITY, projection.dense_gaussian: 1}[draw]
    assert (frame != 0).mean() == pytest.approx(share, abs=0.01)


def test_the_stream_of_a_seed_is_what_it_was() -> None:
    """Codes are decoded by the frame of their seed: another stream would make every stored code unreadable."""
    assert projection.words(7, 3).tolist() == STREAM_OF_7
    assert matrix(projection.fast_jl, 4, 6, 1).astype(int).tolist() == FAST_JL_OF_1
    values = projection.normal(projection.words(7, 100_000))
    assert (values.mean(), values.std(), (values**4).mean()) == pytest.approx((0, 1, 3), abs=0.1)


@given(st.integers(1, 40), st.integers(0, 100))
@settings(deadline=None, max_examples=30)
def test_the_smooth_frame_is_tight_and_the_turn_orthogonal(dims: int, more: int) -> None:
    x, steps = normal(3, dims), dims + more
    series = projection.oversampled(x, steps)
    times = (np.arange(steps) + 0.5) / steps
    waves = np.cos(np.pi * np.outer(times, np.arange(dims))) * np.where(np.arange(dims), np.sqrt(2), 1)
    np.testing.assert_allclose(series, waves @ x.T, atol=1e-4)
    np.testing.assert_allclose(waves.T @ waves, steps * np.eye(dims), atol=1e-9 * steps)
    turn = projection.turned(np.eye(dims, dtype=np.float32), 4)
    np.testing.assert_allclose(turn @ turn.T, np.eye(dims), atol=1e-5)
    np.testing.assert_allclose(projection.turned(x, 4), x @ turn, atol=1e-5)


# --- condensation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("order", "length"), [(1, 5), (2, 3), (3, 4)])
def test_condensation_is_its_matrix(order: int, length: int) -> None:
    window = Window(order, length, 47)
    v = np.poly1d([1])
    for _ in range(order):
        v = v * np.poly1d(np.ones(length))
    assert window.coefficients.tolist() == v.coeffs.tolist()
    assert window.size == order * length - order + 1 == len(v.coeffs)
    assert window.blocks == 47 // window.size
    assert window.coefficients.sum() == length**order
    operator = np.kron(np.eye(window.blocks), v.coeffs)
    signs = np.sign(normal(9, 47)).astype(np.int8)
    found = window.integers(signs)
    np.testing.assert_array_equal(found, signs[:, : operator.shape[1]] @ operator.T)
    assert found.dtype.kind == "i"
    assert window.factor == pytest.approx(np.sqrt(np.pi / 2) / (window.blocks * np.linalg.norm(v.coeffs)))
    np.testing.assert_array_equal(window.integers(np.ones((1, 47)))[0], length**order)


@pytest.mark.parametrize("wrong", [(0, 3, 9), (2, 0, 9), (2, 6, 10)])
def test_a_window_that_does_not_fit_is_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(UserError, match=f"order {wrong[0]} and l = {wrong[1]}"):
        Window(*wrong)


def test_manhattan_against_brute_force() -> None:
    base, asked = normal(80, 7), normal(9, 7, 1)
    distances = np.abs(asked[:, None] - base[None]).sum(axis=2)
    np.testing.assert_array_equal(condensation.manhattan(base)(asked, 5), np.argsort(distances, axis=1)[:, :5])


# --- dual frames ----------------------------------------------------------------------------------------------------


def toeplitz(coefficients: np.ndarray, steps: int) -> np.ndarray:
    found = np.zeros((steps, steps))
    for delay, value in enumerate(coefficients[:steps]):
        found += np.diag(np.full(steps - delay, value), -delay)
    return found


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_the_dual_is_the_pseudo_inverse_of_the_shaped_frame(order: int) -> None:
    frame = normal(60, 8)
    for noise in (dual.noise_filter(order), dual.difference(order)):
        inverse = np.linalg.inv(toeplitz(noise, 60))
        found = dual.sobolev(frame, noise)
        np.testing.assert_allclose(found, np.linalg.pinv(inverse @ frame) @ inverse, atol=1e-7)
        np.testing.assert_allclose(found @ frame, np.eye(8), atol=1e-7)


def test_it_has_the_least_noise_of_all_duals() -> None:
    frame, noise = normal(60, 8), dual.noise_filter(2)
    shaped = toeplitz(noise, 60)
    best = np.linalg.norm(dual.sobolev(frame, noise) @ shaped)
    for other in (dual.sobolev(frame, dual.difference(2)), np.linalg.pinv(frame.astype(np.float64))):
        assert best < np.linalg.norm(other @ shaped)


def test_the_noise_filter_is_that_of_the_modulator() -> None:
    drive = np.random.default_rng(0).uniform(-0.5, 0.5, (80, 1))
    for order in (1, 2, 3):
        q, v = sigma_delta.reference(drive, order)
        np.testing.assert_allclose(toeplitz(dual.noise_filter(order), 80) @ v, drive - q, atol=1e-12)
    assert dual.difference(3).tolist() == [1, -3, 3, -1]


def test_frames_without_a_dual_are_not_applicable() -> None:
    with pytest.raises(NotApplicableError, match="7 bits cannot be decoded to 8"):
        dual.sobolev(normal(7, 8), dual.noise_filter(1))
    frame = normal(20, 4)
    frame[:, 3] = frame[:, 1]
    with pytest.raises(NotApplicableError, match="does not tell all vectors"):
        dual.sobolev(frame, dual.noise_filter(2))


# --- ridge ----------------------------------------------------------------------------------------------------------


def left_out(z: np.ndarray, x: np.ndarray, strength: float) -> float:
    """|x - z W|^2 / (n - trace of the hat matrix)^2, written out."""
    inverse = np.linalg.inv(z.T @ z + strength * np.eye(z.shape[1]))
    return float(((x - z @ inverse @ z.T @ x) ** 2).sum() / (len(z) - np.trace(z @ inverse @ z.T)) ** 2)


def test_the_ridge_takes_the_strength_of_least_generalised_cross_validation() -> None:
    z, noise = normal(60, 20).astype(np.float64), normal(60, 6, 2)
    x = z[:, :6] * 0.3 + noise
    strengths = ridge.STRENGTHS * np.trace(z.T @ z) / 20
    best = min(strengths, key=lambda strength: left_out(z, x, strength))
    assert ridge.STRENGTHS[0] < best / (np.trace(z.T @ z) / 20) < ridge.STRENGTHS[-1]
    np.testing.assert_allclose(ridge.solve(z, x), np.linalg.solve(z.T @ z + best * np.eye(20), z.T @ x), atol=1e-9)


def test_without_noise_the_ridge_is_the_map_and_of_nothing_it_is_nothing() -> None:
    z, true = normal(50, 4), normal(4, 3, 1)
    np.testing.assert_allclose(ridge.solve(z, z @ true), true, atol=1e-5)
    assert not ridge.solve(np.zeros((5, 3)), np.ones((5, 2))).any()
    assert np.isfinite(ridge.solve(normal(3, 9), normal(3, 9))).all()
