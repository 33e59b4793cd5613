import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.water_filling import distortion, rate, spectrum

spectra = st.lists(st.floats(-12, 4), min_size=1, max_size=40).map(lambda logs: np.sort(np.exp2(logs))[::-1])


def by_bisection(eigenvalues, bits):
    """The water level found by halving an interval, which knows nothing of the closed form."""
    low, high = -200.0, float(np.log2(eigenvalues[0]))
    for _ in range(200):
        middle = (low + high) / 2
        needed = np.maximum(0, np.log2(eigenvalues) - middle).sum() / 2
        low, high = (middle, high) if needed > bits else (low, middle)
    return np.minimum(eigenvalues, np.exp2(low)).sum()


@given(spectra, st.floats(0, 500))
def test_the_level_is_that_of_a_search(eigenvalues, bits):
    assert distortion(eigenvalues, bits) == pytest.approx(by_bisection(eigenvalues, bits), rel=1e-9)


@given(spectra, st.floats(0.01, 200))
def test_there_and_back(eigenvalues, bits):
    assert rate(eigenvalues, distortion(eigenvalues, bits)) == pytest.approx(bits, rel=1e-6, abs=1e-9)


def test_equal_eigenvalues_share_the_bits():
    # Cover & Thomas (10.23) in every coordinate: D = sigma^2 2^(-2 R), so 6.02 dB a bit.
    assert distortion(np.full(8, 3.0), 16) == pytest.approx(8 * 3 * 2 ** (-2 * 16 / 8))
    assert rate(np.full(8, 3.0), 8 * 3 / 16) == pytest.approx(16)


def test_components_below_the_water_get_no_bits():
    # theta = 1: log2(4 / 1) / 2 = 1 bit, all to the first.
    assert distortion(np.array([4.0, 1.0, 0.5]), 1) == pytest.approx(1 + 1 + 0.5)
    assert rate(np.array([4.0, 1.0, 0.5]), 2.5) == pytest.approx(1)


def test_no_bits_leave_the_variance_and_the_variance_needs_none():
    eigenvalues = np.array([4.0, 1.0, 0.1, 0.1])
    assert distortion(eigenvalues, 0) == pytest.approx(eigenvalues.sum())
    assert rate(eigenvalues, eigenvalues.sum()) == 0
    assert rate(eigenvalues, 99) == 0
    assert 0 <= rate(eigenvalues, np.nextafter(eigenvalues.sum(), 0)) < 1e-9


def test_a_billion_bits_do_not_overflow():
    assert distortion(np.array([4.0, 1.0]), 1e9) == 0


@pytest.mark.parametrize("shape", [(200, 6), (5, 30)])
def test_the_spectrum_is_that_of_the_covariance(shape):
    x = np.random.default_rng(0).normal(size=shape) + 7
    expected = np.linalg.eigvalsh(np.cov(x, rowvar=False, bias=True))[::-1]
    found = spectrum(x.astype(np.float32))
    assert len(found) == min(shape[0] - (shape[0] < shape[1]), shape[1])
    assert found == pytest.approx(expected[: len(found)], rel=1e-5)


def test_constant_rows_have_no_spectrum_and_no_error():
    assert len(spectrum(np.ones((9, 4), np.float32))) == 0
    assert distortion(np.array([]), 10) == 0
    assert len(spectrum(np.arange(3, dtype=np.float32)[:, None])) == 1
