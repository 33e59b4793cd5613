import numpy as np
import pytest

from pipeline.codec import shared_bytes
from pipeline.codecs import binary, ridge, scalar, sigma_delta
from pipeline.codecs.linear_decoder import NAMES, build
from pipeline.evaluation.ledger import shares
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


def test_the_weights_are_those_of_ridge_regression_on_all_fit_rows():
    x = related(300, 9)
    codec = build("sign_ridge", 0).fit(x)
    z = x.astype(np.float64) - codec.shared["mean"]
    b = np.where(z > 0, 1.0, -1.0)
    residual = b.T @ (z - b @ codec.weights())  # b'b w + a w = b'z: it is a w, whatever a has been chosen
    strengths = residual / codec.weights()
    np.testing.assert_allclose(residual, np.median(strengths) * codec.weights(), atol=1e-3 * np.abs(residual).max())
    assert np.isclose(np.median(strengths) / 300, ridge.STRENGTHS, rtol=1e-3).any()  # the bits' mean eigenvalue is n


def test_the_ledger_calls_all_but_the_mean_the_decoder():
    x = related(200, 12)
    for name in NAMES:
        codec = build(name, 0).fit(x)
        assert shares(codec) == (4 * 12, shared_bytes(codec) - 4 * 12)


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


@pytest.mark.parametrize("name", NAMES)
def test_codes_of_another_codec_or_dimension_are_refused(name):
    x = related(50, 22)
    codec = build(name, 0).fit(x)
    others = {
        "a vector has bits uint8.2.; expected is bits uint8.3.": build(name, 0).fit(related(50, 16)).encode,
        "vector [0-9]+ has more than 22 bits": build(name, 0).fit(related(50, 24)).encode,
        "a vector has levels uint8.22.; expected is bits": scalar.build("int8", 0).fit(x).encode,
        "a vector has bits uint8.8., level float16": sigma_delta.build("sigma_delta_r2_64", 0).fit(x).encode,
    }
    for (message, encode), dims in zip(others.items(), (16, 24, 22, 22), strict=True):
        foreign = encode(related(50, dims))
        uses = (
            codec.decode,
            lambda codes: codec.searcher("hamming", codes),
            lambda codes: codec.similarity("hamming", codec.encode(x), codes),
        )
        for use in uses:
            with pytest.raises(UserError, match=f"{name}: codes of another .*{message}"):
                use(foreign)


def test_weights_beyond_float16_are_refused():
    with pytest.raises(UserError, match="their scales are float16, up to 65,504"):
        build("sign_ridge_ternary", 0).fit(related(100, 8) * np.float32(1e9))


def test_unknown_names():
    with pytest.raises(UserError, match="linear_decoder has no codec 'sign'"):
        build("sign", 0)
