import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codecs.ternary_weights import restore_weights, ternarize_weights


def normal(bits, dims, seed=0):
    return np.random.default_rng(seed).standard_normal((bits, dims))


@given(bits=st.integers(1, 300), dims=st.integers(1, 9), group=st.integers(1, 140))
def test_each_group_of_a_column_is_three_values_with_the_least_squares_scale(bits, dims, group):
    weights = normal(bits, dims, bits) * np.linspace(0.1, 5, dims)
    packed, scales = ternarize_weights(weights, group)
    assert packed.shape == (dims, -(-bits // 5))
    assert packed.dtype == np.uint8
    assert scales.shape == (dims, -(-bits // group))
    assert scales.dtype == np.float16
    restored = restore_weights(packed, scales, bits, group)
    assert restored.shape == (bits, dims)
    assert restored.dtype == np.float32
    for start in range(0, bits, group):
        rows = slice(start, start + group)
        for j in range(dims):
            trits = np.sign(restored[rows, j])
            if trits.any():
                scale = (weights[rows, j] * trits).sum() / np.abs(trits).sum()
                np.testing.assert_allclose(restored[rows, j], scale * trits, rtol=1e-3, atol=1e-7)  # float16


@pytest.mark.parametrize(("bits", "dims"), [(512, 300), (2048, 684)])
def test_they_are_16_to_20_times_smaller(bits, dims):
    packed, scales = ternarize_weights(normal(bits, dims))
    assert 16 < 4 * bits * dims / (packed.nbytes + scales.nbytes) < 20


def test_a_gaussian_matrix_loses_what_three_levels_must():
    weights = normal(2048, 64) * np.linspace(0.01, 1, 64)
    restored = restore_weights(*ternarize_weights(weights), 2048)
    error = np.square(restored - weights).sum(axis=0) / np.square(weights).sum(axis=0)
    np.testing.assert_allclose(error, 0.1902, atol=0.02)  # Max 1960


def test_a_scale_serves_its_group_alone():
    weights = np.concatenate([np.full((10, 2), 0.001), np.full((7, 2), 8.0)])
    np.testing.assert_allclose(restore_weights(*ternarize_weights(weights, 10), 17, 10), weights, rtol=1e-3)


def test_zero_weights_stay_zero():
    assert not restore_weights(*ternarize_weights(np.zeros((9, 2))), 9).any()
