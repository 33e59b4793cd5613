import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.codec import NotApplicableError, shared_bytes
from pipeline.codecs.floats import build
from pipeline.stage import UserError

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
shapes = st.tuples(st.integers(1, 5), st.integers(1, 40))


@given(shapes.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=finite)))
def test_float32_is_bit_exact_on_raw_values(x):
    codec = build("float32", 0).fit(x)
    codes = codec.encode(x)
    assert codec.decode(codes).tobytes() == x.tobytes()
    assert codes.nbytes == 4 * x.size
    assert shared_bytes(codec) == 0
    assert codec.lossless
    assert not codec.learns


def test_float32_keeps_minus_zero_denormals_and_extremes():
    x = np.array([[-0.0, 0.0, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, -3.4028235e38]], np.float32)
    assert build("float32", 0).decode(build("float32", 0).encode(x)).tobytes() == x.tobytes()


@given(shapes.flatmap(lambda s: hnp.arrays(np.float32, s, elements=st.floats(-1, 1, width=32))))
def test_float16_rounds_each_value_as_ieee_754_does(x):
    codec = build("float16", 0).fit(x)
    codes = codec.encode(x)
    assert codes.nbytes == 2 * x.size
    # the struct module packs halves by its own code, not numpy's
    expected = [struct.unpack("<e", struct.pack("<e", float(value)))[0] for value in x.ravel()]
    decoded = codec.decode(codes)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded.ravel(), np.array(expected, np.float32))
    assert np.all(np.abs(decoded - x) <= np.maximum(np.abs(x) * 2.0**-11, 2.0**-25))
    assert not codec.lossless


@given(st.integers(2, 40), st.data())
def test_truncation_keeps_the_first_values_and_zeros_the_rest(dims, data):
    kept = data.draw(st.integers(1, dims - 1))
    x = np.random.default_rng(dims).standard_normal((4, dims)).astype(np.float32)
    codec = build(f"truncate_{kept}", 0).fit(x)
    codes = codec.encode(x)
    assert codes.nbytes == 4 * 4 * kept
    assert shared_bytes(codec) == 4
    decoded = codec.decode(codes)
    assert decoded.shape == x.shape
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded[:, :kept], x[:, :kept])
    assert not decoded[:, kept:].any()


def test_truncation_stores_no_view_of_the_whole():
    x = np.ones((3, 8), np.float32)
    values = build("truncate_2", 0).fit(x).encode(x)["values"]
    assert values.base is None
    assert values.flags.c_contiguous


@pytest.mark.parametrize("dims", [3, 4])
def test_truncation_that_leaves_nothing_out_is_not_applicable(dims):
    with pytest.raises(NotApplicableError, match="truncate_4"):
        build("truncate_4", 0).fit(np.ones((2, dims), np.float32))


@pytest.mark.parametrize("name", ["float64", "truncate_0", "truncate_", "truncate_-1", "truncate_07", "float32 ", ""])
def test_unknown_names(name):
    with pytest.raises(UserError, match="floats has no codec"):
        build(name, 0)


def test_principal_components_are_those_of_the_singular_value_decomposition():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((200, 9)) * np.arange(1, 10) + 5).astype(np.float32)
    codec = build("pca_3", 0).fit(x)
    codes = codec.encode(x)
    assert codes.nbytes == 200 * 12
    assert shared_bytes(codec) == 4 * (9 + 27)
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    values = np.linalg.svd(centred, compute_uv=False)
    assert np.square(codec.decode(codes) - x).sum() == pytest.approx(np.square(values[3:]).sum(), rel=1e-4)
    assert np.square(codes["values"], dtype=np.float64).sum(axis=0) == pytest.approx(np.square(values[:3]), rel=1e-4)


def test_principal_components_that_leave_nothing_out_are_not_applicable():
    with pytest.raises(NotApplicableError, match="pca_4"):
        build("pca_4", 0).fit(np.ones((9, 4), np.float32))
