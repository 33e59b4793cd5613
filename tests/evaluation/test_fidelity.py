from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import exhaustive
from pipeline.evaluation import fidelity
from pipeline.evaluation.statistics import ratio
from pipeline.store import unit_rows


def some(seed=0, rows=20, dims=7):
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((rows, dims)) + 0.5).astype(np.float32)
    return x, (x + 0.1 * rng.standard_normal((rows, dims))).astype(np.float32), rng.standard_normal(dims)


def relative_mse(x, decoded, mu):
    error, spread = fidelity.squared_errors(x, decoded, mu)
    return error.sum() / spread.sum()


@given(st.integers(0, 99), st.integers(1, 40))
def test_squared_errors_and_cosines_against_loops(seed, dims):
    x, decoded, mu = some(seed, 6, dims)
    error, spread = fidelity.squared_errors(x, decoded, mu)
    cosines = fidelity.centered_cosines(x, decoded, mu)
    for row, (a, b) in enumerate(zip(x.astype(float), decoded.astype(float), strict=True)):
        assert error[row] == pytest.approx(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)), rel=1e-5)
        assert spread[row] == pytest.approx(sum((p - m) ** 2 for p, m in zip(a, mu, strict=True)), rel=1e-6)
        dot = sum((p - m) * (q - m) for p, q, m in zip(a, b, mu, strict=True))
        norms = sum((p - m) ** 2 for p, m in zip(a, mu, strict=True)) * sum(
            (q - m) ** 2 for q, m in zip(b, mu, strict=True)
        )
        assert cosines[row] == pytest.approx(dot / norms**0.5, abs=1e-6)


def test_no_error_is_zero_and_the_mean_is_one():
    x, _, _ = some()
    mu = x.mean(axis=0, dtype=np.float64)
    assert relative_mse(x, x, mu) == 0
    assert relative_mse(x, np.broadcast_to(mu.astype(np.float32), x.shape), mu) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(fidelity.centered_cosines(x, x, mu), 1, atol=1e-12)
    np.testing.assert_allclose(fidelity.centered_cosines(x, (2 * mu - x).astype(np.float32), mu), -1, atol=1e-6)


def test_a_row_that_is_or_decodes_to_the_mean_itself_has_cosine_0():
    mu = np.array([0.5, 0.25])
    x = np.array([[1, 1], [0.5, 0.25]], np.float32)
    np.testing.assert_array_equal(fidelity.centered_cosines(x, x[[1, 0]], mu), [0, 0])


def test_centring_shows_what_a_common_direction_hides():
    x = (np.array([100.0, 0, 0]) + np.eye(3)[[1, 2, 1, 2]] * [[1], [1], [-1], [-1]]).astype(np.float32)
    mu = x.mean(axis=0, dtype=np.float64)
    swapped = x[[1, 0, 3, 2]]
    plain = np.einsum("nd,nd->n", unit_rows(x), unit_rows(swapped))
    assert plain.min() > 0.99
    np.testing.assert_allclose(fidelity.centered_cosines(x, swapped, mu), 0, atol=1e-6)


def test_exact_values_are_compared_bit_for_bit():
    x = np.array([[1, 2, -0.0, 0.1], [3, 4, 5, 6]], np.float32)
    decoded = np.array([[1, 2, 0.0, np.nextafter(np.float32(0.1), np.float32(1))], [3, 4, 5, 6]], np.float32)
    np.testing.assert_array_equal(fidelity.exact_shares(x, decoded), [0.5, 1])
    np.testing.assert_array_equal(fidelity.exact_shares(x, np.asfortranarray(decoded)), [0.5, 1])


def test_identified_is_the_nearest_original():
    originals = unit_rows(np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32))
    nearest = exhaustive.inner_product(originals)
    decoded = unit_rows(np.array([[0.9, 0.2], [0.9, 0.2], [-0.3, -0.9]], np.float32))
    np.testing.assert_array_equal(fidelity.identified(decoded, np.array([0, 1, 3]), nearest), [True, False, True])


def mape(x, decoded, seed=0):
    return ratio(*fidelity.distance_errors(x, decoded, seed))


def test_distance_errors_against_all_pairs():
    x, decoded, _ = some(rows=25)
    errors = []
    for i, j in permutations(range(25), 2):
        true = np.linalg.norm(x[i].astype(float) - x[j])
        errors.append(abs(np.linalg.norm(decoded[i].astype(float) - decoded[j]) - true) / true)
    assert mape(x, decoded).value == pytest.approx(np.mean(errors), rel=0.01)  # 100,000 draws of 600 pairs
    _, counts = fidelity.distance_errors(x, decoded, 0)
    assert counts.sum() == 100_000
    np.testing.assert_allclose(counts, 4000, rtol=0.1)


def test_distances_all_a_tenth_too_long():
    x, _, _ = some()
    np.testing.assert_allclose(mape(x, 1.1 * x), 0.1, rtol=1e-5)
    np.testing.assert_allclose(mape(x, 0.9 * x + 3), 0.1, rtol=1e-5)
    assert mape(x, x) == (0, 0, 0)


def test_distances_of_float32_rows_are_measured_in_float64():
    x = np.array([[1e8, 0], [0, 0]], np.float32)
    decoded = np.array([[1e8, 3], [0, 0]], np.float32)  # in float32 3 is nothing beside 1e8
    assert mape(x, decoded).value == pytest.approx(np.hypot(1e8, 3) / 1e8 - 1, rel=1e-3)
    one, other = np.array([[16777216, 0], [1, 0]], np.float32), np.array([[16777216, 0], [3, 0]], np.float32)
    assert mape(one, other).value == pytest.approx(2 / 16777215, rel=1e-6)  # 2^24 - 3 is no float32


def test_equal_rows_have_no_relative_error():
    x = np.array([[1, 2], [1, 2], [3, 4]], np.float32)
    np.testing.assert_allclose(mape(x, x * 2), 1, rtol=1e-6)
    errors, counts = fidelity.distance_errors(x[:2], x[:2], 0)
    assert not errors.any()
    assert not counts.any()
    assert np.isnan(mape(x[:2], x[:2]).value)


def test_pairs_come_by_the_seed():
    x, decoded, _ = some()
    np.testing.assert_array_equal(*(fidelity.distance_errors(x, decoded, 5)[0] for _ in range(2)))
    assert mape(x, decoded, 5).value != mape(x, decoded, 6).value


def test_the_interval_is_as_wide_as_repetition_says(monkeypatch):
    """Pairs share rows: a mean over pairs varies more than the number of pairs suggests."""
    monkeypatch.setattr(fidelity, "DISTANCE_PAIRS", 20_000)
    rng = np.random.default_rng(0)
    values, widths = [], []
    for seed in range(150):
        x = rng.standard_normal((150, 4)).astype(np.float32)
        noise = rng.gamma(1, 1, (150, 1)) * rng.standard_normal((150, 4))
        found = mape(x, (x + 0.3 * noise).astype(np.float32), seed)
        values.append(found.value)
        widths.append(found.high - found.low)
    assert np.mean(widths) / (2 * 1.96) == pytest.approx(np.std(values), rel=0.25)
