import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.codec import shared_bytes
from pipeline.codecs.scalar import build, pack, unpack
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


# --- int4 and int5 -------------------------------------------------------------------------------------------------


def normal(rows, dims, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32)


@given(dims=st.integers(1, 70), width=st.integers(1, 8), seed=st.integers(0, 99))
def test_levels_of_any_width_are_packed_without_gaps(dims, width, seed):
    levels = np.random.default_rng(seed).integers(0, 2**width, (3, dims)).astype(np.uint8)
    packed = pack(levels, width)
    assert packed.shape == (3, -(-dims * width // 8))
    np.testing.assert_array_equal(unpack(packed, dims, width), levels)
    joined = int("".join(format(level, f"0{width}b") for level in levels[0]).ljust(8 * packed.shape[1], "0"), 2)
    assert int.from_bytes(packed[0].tobytes(), "big") == joined


def test_eight_values_of_five_bits_are_five_bytes():
    assert build("int5", 0).fit(normal(30, 8)).encode(normal(2, 8)).nbytes == 2 * 5
    assert build("int4", 0).fit(normal(30, 8)).encode(normal(2, 8)).nbytes == 2 * 4


@pytest.mark.parametrize(("name", "step", "error"), [("int4", 0.3352, 0.01154), ("int5", 0.1881, 0.003495)])
def test_a_gaussian_gets_the_published_step_and_error(name, step, error):
    """Max 1960, table II: the best evenly spaced 16 and 32 levels for a Gaussian."""
    x = normal(40_000, 3) * np.array([1, 0.01, 7], np.float32) + np.array([0, 5, -3], np.float32)
    codec = build(name, 0).fit(x)
    spread = x.std(axis=0)
    np.testing.assert_allclose(codec.shared["step"] / spread, step, rtol=0.05)
    found = np.square(codec.decode(codec.encode(x)) - x).mean(axis=0) / spread**2
    z = (x - x.mean(axis=0)) / spread
    edge = step * (2 ** int(name[3:]) - 1) / 2
    published = np.square(np.clip(np.rint((z + edge) / step) * step - edge, -edge, edge) - z).mean(axis=0)
    np.testing.assert_allclose(published, error, rtol=0.06)  # rare large values: it differs by that from draw to draw
    assert np.all(found < 1.04 * published)


@pytest.mark.parametrize("name", ["int4", "int5"])
@given(tables)
def test_the_range_found_is_never_worse_than_the_extremes(name, x):
    codec = build(name, 0).fit(x)
    largest = 2 ** int(name[3:]) - 1
    low = x.min(axis=0).astype(np.float64)
    step = (x.max(axis=0) - low) / largest
    q = np.rint(np.divide(x - low, step, out=np.zeros(x.shape), where=step > 0))
    extremes = np.square(low + q * step - x).sum(axis=0)
    decoded = codec.decode(codec.encode(x))
    assert decoded.dtype == np.float32
    assert np.all(np.square(decoded - x.astype(np.float64)).sum(axis=0) <= extremes * 1.001 + 1e-11)


def test_each_end_of_a_lopsided_dimension_is_found():
    x = np.random.default_rng(0).exponential(1, (4000, 2)).astype(np.float32) * np.array([1, -1], np.float32)
    codec = build("int4", 0).fit(x)
    found = np.square(codec.decode(codec.encode(x)) - x).mean(axis=0)
    best = np.inf
    for low in np.linspace(0, 0.4, 9):
        for high in np.linspace(2, 7, 51):
            step = (high - low) / 15
            q = np.clip(np.rint((np.abs(x) - low) / step), 0, 15)
            best = np.minimum(best, np.square(low + q * step - np.abs(x)).mean(axis=0))
    assert np.all(found < 1.03 * best)


@pytest.mark.parametrize("name", ["int4", "int5"])
def test_packed_codes_store_and_share_what_they_say(name):
    x = normal(300, 13)
    codec = build(name, 0).fit(x)
    assert shared_bytes(codec) == 2 * 4 * 13
    assert codec.encode(x).nbytes == 300 * -(-13 * int(name[3:]) // 8)
    assert codec.searches == ("asymmetric",)
    asked = normal(20, 13, seed=1)
    decoded = codec.decode(codec.encode(x)).astype(np.float64)
    scores = asked @ (decoded / np.linalg.norm(decoded, axis=1, keepdims=True)).T
    found = codec.searcher("asymmetric", codec.encode(x))(asked, 5)
    np.testing.assert_allclose(np.take_along_axis(scores, found, 1), -np.sort(-scores, axis=1)[:, :5], atol=1e-5)


@pytest.mark.parametrize("name", ["int4", "int5"])
def test_constant_dimensions_and_one_row_decode_to_themselves(name):
    for x in (np.full((5, 3), 0.25, np.float32), normal(1, 3), np.zeros((4, 1), np.float32)):
        codec = build(name, 0).fit(x)
        np.testing.assert_array_equal(codec.decode(codec.encode(x)), x)


def test_codes_of_another_width_are_refused():
    codec = build("int5", 0).fit(normal(30, 8))
    with pytest.raises(UserError, match=r"a vector has levels uint8\[4\]; expected is levels uint8\[5\]"):
        codec.decode(build("int4", 0).fit(normal(30, 8)).encode(normal(2, 8)))


@pytest.mark.parametrize("name", ["int3", "int16", "INT8", ""])
def test_unknown_names(name):
    with pytest.raises(UserError, match="scalar has no codec"):
        build(name, 0)
