import numpy as np
import pytest

from pipeline.codec import shared_bytes
from pipeline.codecs import binary
from pipeline.codecs.linear_decoder import NAMES, build, solve_ridge
from pipeline.stage import UserError


def related(rows, dims, seed=0):
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(5).standard_normal((dims // 2 + 1, dims))
    x = (rng.standard_normal((rows, dims // 2 + 1)) @ mixing + 0.3 * rng.standard_normal((rows, dims)) + 0.5).astype(
        "f4"
    )
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def error(codec, x):
    return np.square(codec.decode(codec.encode(x)) - x).sum() / np.square(x - x.mean(axis=0)).sum()


def test_the_row_together_says_more_than_each_bit_and_fewer_weight_bytes_cost_little():
    x, unseen = related(3000, 60), related(500, 60, seed=1)
    alone = error(binary.build("sign_centered", 0).fit(x), unseen)
    full, byte, ternary = (error(build(name, 0).fit(x), unseen) for name in NAMES)
    assert full < 0.8 * alone
    assert byte == pytest.approx(full, rel=0.01)
    assert full < ternary < 0.9 * alone


def test_bits_and_sizes():
    x = related(400, 60)
    codes = [build(name, 0).fit(x).encode(x) for name in NAMES]
    for one in codes:
        np.testing.assert_array_equal(one["bits"], binary.build("sign_centered", 0).fit(x).encode(x)["bits"])
        assert one.nbytes == 400 * 8
    sizes = [shared_bytes(build(name, 0).fit(x)) for name in NAMES]
    assert sizes == [4 * 60 + 4 * 3600, 3 * 4 * 60 + 3600, 2 * 4 * 60 + 60 * 12 + 2 * 60]


def test_the_weights_are_those_of_ridge_regression():
    rng = np.random.default_rng(0)
    b, z = rng.choice([-1.0, 1.0], (200, 7)), rng.standard_normal((200, 3))
    z = 0.01 * z + b @ rng.standard_normal((7, 3))
    weights = solve_ridge(b, z, 0)
    residual = b.T @ (z - b @ weights)
    ridge = (residual / weights).mean() / 200
    np.testing.assert_allclose(residual, ridge * 200 * weights, rtol=1e-6)
    assert ridge == pytest.approx(0.0003, rel=1e-6)  # much signal: the smallest of the grid
    noise = solve_ridge(b, rng.standard_normal((200, 3)), 0)
    assert np.abs(noise).max() < 0.12  # none: the largest


def test_hamming_is_that_of_the_bits():
    x = related(200, 21)
    ours, plain = build("sign_ridge", 0).fit(x), binary.build("sign_centered", 0).fit(x)
    codes = ours.encode(x)
    np.testing.assert_array_equal(
        ours.searcher("hamming", codes)(x[:9], 5), plain.searcher("hamming", plain.encode(x))(x[:9], 5)
    )
    np.testing.assert_array_equal(
        ours.similarity("hamming", codes, codes), plain.similarity("hamming", plain.encode(x), plain.encode(x))
    )


@pytest.mark.parametrize("name", NAMES)
def test_constant_zero_few_and_narrow_tables(name):
    for x in (np.full((5, 3), 0.25, np.float32), np.zeros((4, 1), np.float32), related(3, 20), related(1, 4)):
        codec = build(name, 0).fit(x)
        assert np.isfinite(codec.decode(codec.encode(x))).all()
    flat = np.full((5, 3), 0.25, np.float32)
    codec = build(name, 0).fit(flat)
    np.testing.assert_array_equal(codec.decode(codec.encode(flat)), flat)


def test_unknown_names():
    with pytest.raises(UserError, match="linear_decoder has no codec 'sign'"):
        build("sign", 0)
