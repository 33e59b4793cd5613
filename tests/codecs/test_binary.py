import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.codec import Codes, shared_bytes
from pipeline.codecs.binary import build
from pipeline.stage import UserError

NAMES = ["sign", "sign_centered"]
values = st.floats(-1, 1, width=32, allow_subnormal=False)
tables = st.tuples(st.integers(1, 12), st.integers(1, 40)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=values)
)


def random_rows(rows, dims, seed=0):
    x = np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32) + 0.3
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def thresholds(name, x):
    mean = x.astype(np.float64).mean(axis=0).astype(np.float32)
    return mean if name == "sign_centered" else np.zeros_like(mean)


@pytest.mark.parametrize("name", NAMES)
@given(x=tables)
def test_decoding_gives_the_mean_of_each_side(name, x):
    codec = build(name, 0).fit(x)
    codes = codec.encode(x)
    assert codes.nbytes == len(x) * -(-x.shape[1] // 8)
    assert shared_bytes(codec) == 3 * 4 * x.shape[1]
    expected = np.empty(x.shape)
    for j, threshold in enumerate(thresholds(name, x)):
        high = x[:, j] > threshold
        for side in (high, ~high):
            expected[side, j] = x[side, j].astype(np.float64).mean() if side.any() else threshold
    decoded = codec.decode(codes)
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, expected, rtol=1e-5, atol=1e-12)


def test_a_side_that_no_fit_row_is_on_decodes_to_the_threshold():
    x = np.array([[0.5, -0.5], [0.7, -0.3]], np.float32)
    codec = build("sign", 0).fit(x)
    np.testing.assert_allclose(codec.decode(codec.encode(x)), [[0.6, -0.4]] * 2, rtol=1e-6)
    np.testing.assert_array_equal(codec.decode(codec.encode(-x)), np.zeros((2, 2)))


def test_a_constant_dimension_decodes_to_its_value_on_either_side():
    x = np.full((4, 2), 0.25, np.float32)
    codec = build("sign_centered", 0).fit(x)
    np.testing.assert_array_equal(codec.decode(codec.encode(np.stack([x[0] + 1, x[0], x[0] - 1]))), 0.25)


def test_centring_gives_a_shifted_dimension_its_bit_back():
    x = random_rows(500, 12)
    x[:, 3] = 0.9 + 0.01 * np.random.default_rng(1).standard_normal(500)
    plain, centered = (build(name, 0).fit(x).encode(x)["bits"] for name in NAMES)
    assert np.unpackbits(plain, axis=1)[:, 3].mean() == 1
    assert 0.4 < np.unpackbits(centered, axis=1)[:, 3].mean() < 0.6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dims", [1, 7, 8, 9, 30, 37])
def test_searches_against_brute_force(name, dims):
    x, asked = random_rows(150, dims), random_rows(20, dims, seed=1)
    codec = build(name, 0).fit(x)
    codes, threshold = codec.encode(x), thresholds(name, x)
    base, query = x > threshold, asked > threshold
    distances = (query[:, None] != base[None]).sum(axis=2)
    expected = np.argsort(distances, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(codec.searcher("hamming", codes)(asked, 10), expected)
    found = codec.searcher("asymmetric", codes)(asked, 10)
    scores = (asked.astype(np.float64) - threshold) @ np.where(base, 1, -1).T
    np.testing.assert_allclose(
        np.take_along_axis(scores, found, axis=1), -np.sort(-scores, axis=1)[:, :10], atol=1e-5
    )  # scores, for equal codes tie
    np.testing.assert_allclose(codec.similarity("hamming", codes, codes.take(np.arange(5))), 1 - 2 * (
        (base[:, None] != base[None, :5]).sum(axis=2) / dims
    ), atol=1e-6)  # fmt: skip


def test_it_names_its_rules():
    codec = build("sign", 0)
    assert codec.searches == ("hamming", "asymmetric")
    assert codec.compares == ("hamming",)


def test_codes_are_those_of_the_rows_taken():
    x = random_rows(20, 11)
    codec = build("sign", 0).fit(x)
    part = codec.encode(x).take(np.array([4, 2]))
    assert isinstance(part, Codes)
    np.testing.assert_array_equal(part["bits"], codec.encode(x[[4, 2]])["bits"])


@pytest.mark.parametrize("name", ["signs", "sign_", "binary", ""])
def test_unknown_names(name):
    with pytest.raises(UserError, match="binary has no codec"):
        build(name, 0)
