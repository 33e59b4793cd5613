import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.codec import shared_bytes
from pipeline.codecs.ternary import build, ternarize
from pipeline.stage import UserError

NAMES = ["ternary", "ternary_entropy"]
values = st.floats(-1, 1, width=32, allow_subnormal=False)
tables = st.tuples(st.integers(1, 12), st.integers(1, 40)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=values)
)


def normal(rows, dims, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32)


@given(z=hnp.arrays(np.float32, (7, 5), elements=st.floats(-9, 9, width=32)), step=st.floats(0.25, 4, width=32))
def test_trits_are_those_of_bitnet(z, step):
    expected = np.clip(np.rint(z.astype(np.float64) / step), -1, 1)  # rint takes a half to zero, the even one
    np.testing.assert_array_equal(ternarize(z, np.full(5, step, np.float32)), expected)


@pytest.mark.parametrize("name", NAMES)
@given(x=tables)
def test_decoding_is_the_least_squares_scale_of_each_trit(name, x):
    codec = build(name, 0).fit(x)
    codes = codec.encode(x)
    decoded = codec.decode(codes)
    assert decoded.dtype == np.float32
    z = x.astype(np.float64) - codec.shared["mean"]
    t = np.sign((decoded - codec.shared["mean"]).round(6))
    counts = np.maximum((t**2).sum(axis=0), 1)
    np.testing.assert_allclose(decoded, codec.shared["mean"] + (z * t).sum(axis=0) / counts * t, atol=2e-6)


def test_a_gaussian_gets_the_published_threshold_and_error():
    """Max 1960: three levels, threshold 0.6120, level 1.224, error 0.1902, probability of zero 0.4595."""
    x = normal(50_000, 4) * np.array([1, 2, 0.1, 5], np.float32) + 3
    codec = build("ternary", 0).fit(x)
    spread = x.std(axis=0)
    np.testing.assert_allclose(codec.shared["step"] / 2 / spread, 0.612, atol=0.02)
    np.testing.assert_allclose(codec.shared["scale"] / spread, 1.224, atol=0.02)
    error = np.square(codec.decode(codec.encode(x)) - x).mean(axis=0) / spread**2
    np.testing.assert_allclose(error, 0.1902, atol=0.003)


def test_the_threshold_is_found_not_assumed():
    """Values of +-1 and many near zero: the threshold must keep clear of the small ones."""
    rng = np.random.default_rng(0)
    x = np.where(rng.random((4000, 3)) < 0.4, rng.choice([-1.0, 1.0], (4000, 3)), rng.normal(0, 0.12, (4000, 3)))
    codec = build("ternary", 0).fit(x.astype(np.float32))
    np.testing.assert_allclose(codec.shared["scale"], 1, atol=0.05)
    assert np.all(codec.shared["step"] / 2 > 0.3)


@pytest.mark.parametrize("dims", [1, 4, 5, 6, 299, 300])
def test_size(dims):
    x = normal(400, dims)
    packed, coded = (build(name, 0).fit(x) for name in NAMES)
    assert packed.encode(x).nbytes == 400 * -(-dims // 5)
    assert shared_bytes(packed) == 3 * 4 * dims
    assert shared_bytes(coded) in (12 * dims + 3, 12 * dims + 3 * dims)
    np.testing.assert_array_equal(packed.decode(packed.encode(x)), coded.decode(coded.encode(x)))
    if dims > 100:  # a Gaussian's 1.535 bits a trit against 1.6, the length's byte included
        assert coded.encode(x).nbytes < 0.99 * packed.encode(x).nbytes


def test_frequencies_of_each_dimension_where_they_pay():
    even = normal(2000, 60)
    assert build("ternary_entropy", 0).fit(even).shared["counts"].shape == (1, 3)
    uneven = even.copy()
    uneven[:, ::2] = np.where(np.abs(even[:, ::2]) > 2.2, np.sign(even[:, ::2]), 0)  # nearly always zero
    codec = build("ternary_entropy", 0).fit(uneven)
    assert codec.shared["counts"].shape == (60, 3)
    assert codec.encode(uneven).nbytes < 2000 * (60 * 0.6 * 1.6 / 8 + 4)


def test_one_vector_decodes_alone():
    x = normal(50, 64)
    codec = build("ternary_entropy", 0).fit(x)
    codes = codec.encode(x)
    np.testing.assert_array_equal(codec.decode(codes.take(np.array([7, 3]))), codec.decode(codes)[[7, 3]])


def test_constant_dimensions_and_one_row_decode_to_themselves():
    for x in (np.full((5, 3), 0.25, np.float32), normal(1, 3), np.zeros((4, 1), np.float32)):
        for name in NAMES:
            codec = build(name, 0).fit(x)
            np.testing.assert_array_equal(codec.decode(codec.encode(x)), x)


def test_a_code_of_another_width_is_refused():
    narrow, wide = (build("ternary", 0).fit(normal(30, dims)) for dims in (20, 31))
    with pytest.raises(UserError, match=r"a vector has trits uint8\[4\]; expected is trits uint8\[7\]"):
        wide.decode(narrow.encode(normal(2, 20)))


def test_unknown_names():
    with pytest.raises(UserError, match="ternary has no codec 'trit'"):
        build("trit", 0)
