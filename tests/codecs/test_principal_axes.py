"""Principal axes: of rows or of their covariance the same, and what int8 leaves of them undone exactly."""

import numpy as np

from pipeline.codecs import principal_axes

ROWS = (np.random.default_rng(0).standard_normal((400, 8)) * 0.7 ** np.arange(8)).astype(np.float32)
CENTRED = ROWS - ROWS.mean(axis=0)


def test_axes_are_the_singular_vectors_by_falling_variance():
    axes, variances = principal_axes.of(CENTRED)
    _, values, vectors = np.linalg.svd(CENTRED.astype(float), full_matrices=False)
    np.testing.assert_allclose(variances, values**2 / len(CENTRED))
    np.testing.assert_allclose(np.abs(np.sum(axes * vectors.T, axis=0)), 1)


def test_axes_of_a_covariance_are_those_of_the_rows():
    of_rows = principal_axes.of(CENTRED)
    of_covariance = principal_axes.of_covariance(np.cov(CENTRED.astype(float).T, bias=True))
    np.testing.assert_allclose(of_covariance[1], of_rows[1])
    np.testing.assert_allclose(np.abs(np.sum(of_covariance[0] * of_rows[0], axis=0)), 1)


def test_a_variance_that_rounding_made_negative_is_none():
    assert (principal_axes.of_covariance(np.array([[1.0, 1.0], [1.0, 1.0 - 1e-15]]))[1] >= 0).all()


def test_each_axis_is_rounded_on_a_scale_of_its_own():
    axes, _ = principal_axes.of(CENTRED)
    stored = principal_axes.rounded(axes)
    assert stored.dtype == np.int8
    np.testing.assert_array_equal(np.abs(stored.astype(int)).max(axis=0), principal_axes.LEVELS)
    np.testing.assert_allclose(stored / 127 * np.abs(axes).max(axis=0), axes, atol=0.5 / 127)
    np.testing.assert_array_equal(principal_axes.stored(CENTRED)[0], stored)


def test_the_inverse_undoes_the_rounded_axes_and_leaves_out_what_has_no_reach():
    axes = principal_axes.stored(CENTRED)[0]
    reach = np.linspace(0.5, 2, 8, dtype=np.float32)
    y = CENTRED @ (axes * reach)
    np.testing.assert_allclose(y @ principal_axes.inverse(axes, reach), CENTRED, atol=1e-5)
    assert not principal_axes.inverse(axes, reach * np.array([0, 1] * 4, np.float32))[::2].any()
