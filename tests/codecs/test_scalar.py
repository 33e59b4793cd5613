import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.codec import shared_bytes
from pipeline.codecs.scalar import build
from pipeline.stage import UserError

shapes = st.tuples(st.integers(1, 12), st.integers(1, 40))
values = st.floats(-1, 1, width=32, allow_subnormal=False)
tables = shapes.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=values))


@given(tables)
def test_error_is_at_most_half_a_step_inside_the_fit_range(x):
    codec = build("int8", 0).fit(x)
    codes = codec.encode(x)
    assert codes.nbytes == x.size
    assert shared_bytes(codec) == 8 * x.shape[1]
    decoded = codec.decode(codes)
    assert decoded.dtype == np.float32
    exact = x.astype(np.float64)
    step = (exact.max(axis=0) - exact.min(axis=0)) / 255
    assert np.all(np.abs(decoded - exact) <= step / 2 + 3e-7)  # float32 rounds at up to 1.2e-7 near 1


@given(tables)
def test_the_fit_extremes_come_back(x):
    codec = build("int8", 0).fit(x)
    codes = codec.encode(x)
    decoded = codec.decode(codes)
    np.testing.assert_array_equal(decoded.min(axis=0), x.min(axis=0))
    np.testing.assert_allclose(decoded.max(axis=0), x.max(axis=0), atol=3e-7)
    spread = x.max(axis=0) - x.min(axis=0) > 1e-6
    np.testing.assert_array_equal(codes["levels"].max(axis=0)[spread], 255)


@given(st.integers(1, 40))
def test_values_beyond_the_range_are_clipped_to_its_ends(dims):
    rng = np.random.default_rng(dims)
    x = rng.uniform(-1, 1, (50, dims)).astype(np.float32)
    codec = build("int8", 0).fit(x)
    outside = np.stack([x.min(axis=0) - 5, x.max(axis=0) + 5])
    decoded = codec.decode(codec.encode(outside))
    np.testing.assert_array_equal(codec.encode(outside)["levels"], [[0] * dims, [255] * dims])
    np.testing.assert_allclose(decoded, [x.min(axis=0), x.max(axis=0)], atol=3e-7)


def test_levels_by_hand():
    x = np.array([[0.0], [255.0]], np.float32)
    asked = np.array([[0.4], [0.6], [100.49], [100.51], [-3], [300]], np.float32)
    np.testing.assert_array_equal(build("int8", 0).fit(x).encode(asked)["levels"][:, 0], [0, 1, 100, 101, 0, 255])


def test_each_dimension_has_its_own_step():
    x = np.array([[0, 10], [1, 20]], np.float32)
    codec = build("int8", 0).fit(x)
    np.testing.assert_allclose(codec.decode(codec.encode(x)), x, rtol=1e-6)


def test_a_constant_dimension_decodes_to_its_value_without_a_warning():
    x = np.array([[0.25, 1], [0.25, 2]], np.float32)
    codec = build("int8", 0).fit(x)
    np.testing.assert_array_equal(codec.decode(codec.encode(x))[:, 0], [0.25, 0.25])
    np.testing.assert_array_equal(codec.decode(codec.encode(x + 1))[:, 0], [0.25, 0.25])


def test_one_row_comes_back_exactly():
    x = np.random.default_rng(0).standard_normal((1, 5)).astype(np.float32)
    codec = build("int8", 0).fit(x)
    np.testing.assert_array_equal(codec.decode(codec.encode(x)), x)


def test_a_range_of_almost_nothing_still_clips():
    x = np.array([[0], [1e-40]], np.float32)
    codec = build("int8", 0).fit(x)
    np.testing.assert_array_equal(codec.encode(np.array([[1], [-1]], np.float32))["levels"], [[255], [0]])


@pytest.mark.parametrize("name", ["int4", "int16", "INT8", ""])
def test_unknown_names(name):
    with pytest.raises(UserError, match="scalar has no codec"):
        build(name, 0)
