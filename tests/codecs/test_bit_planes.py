"""Bit planes: what is read is what was written, every prefix is a code, an error near what the theory allows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.codec import Codes, load, save
from pipeline.codecs.bit_plane_coder import decisions, limits, read, write
from pipeline.codecs.bit_plane_order import KINDS, NEXT, PLANES, ZERO, apart, learn
from pipeline.codecs.bit_planes import build
from pipeline.evaluation import water_filling
from pipeline.stage import UserError

SPECTRUM = 0.85 ** np.arange(32)
ROWS = (np.random.default_rng(0).standard_normal((6000, 32)) * np.sqrt(SPECTRUM) + 0.3).astype(np.float32)
TRAIN, TEST = ROWS[:4000], ROWS[4000:]


def fitted(bits, x=TRAIN):
    return build(f"bit_planes_{bits}", 0).fit(x)


def error(codec, x):
    return float(np.mean(np.sum((codec.decode(codec.encode(x)) - x).astype(np.float64) ** 2, axis=1)))


# --- the order of decisions -----------------------------------------------------------------------------------------


def gaussian_model():
    y = np.abs(np.random.default_rng(1).standard_normal((3000, 6)) * 0.08 * 0.7 ** np.arange(6)).clip(max=0.999)
    return learn(y, np.ones(6))


def test_no_decision_comes_before_those_it_rests_on():
    component, plane, kind = apart(gaussian_model().order, PLANES)
    for j in range(6):
        place = {(p, k): at for at, (i, p, k) in enumerate(zip(component, plane, kind, strict=True)) if i == j}
        for (p, k), at in place.items():
            before = [(p - 1, ZERO)] if k == ZERO else [(p - 1, ZERO), (p - 1, NEXT)]
            assert all(place[one] < at for one in before if one in place)


def test_every_plane_from_one_above_the_largest_row_on_is_asked_for_once():
    model = gaussian_model()
    y = np.abs(np.random.default_rng(1).standard_normal((3000, 6)) * 0.08 * 0.7 ** np.arange(6)).clip(max=0.999)
    component, plane, kind = apart(model.order, PLANES)
    for j in range(6):
        first = max(int(np.ceil(-np.log2(y[:, j].max()))) - 2, 0)
        asked = sorted(plane[(component == j) & (kind == ZERO)])
        assert asked == list(range(first, PLANES))
    assert len(np.unique(model.order)) == len(model.order)


def test_a_likely_leading_bit_comes_before_a_refinement_and_that_before_the_next_plane_of_its_component():
    """The slopes of a component whose chance of a zero is a half: 0.7 T^2, T^2 / 4, and 0.7 T^2 / 4."""
    y = np.random.default_rng(2).random((4000, 1)) * 0.5
    order = list(learn(y, np.ones(1)).order)
    place = [order.index(plane * KINDS + kind) for plane, kind in ((2, ZERO), (2, NEXT), (3, ZERO), (3, NEXT))]
    assert place == sorted(place)


# --- the loops ------------------------------------------------------------------------------------------------------


def told(whole, negative, planes, asked, count):
    """Known bits, planes and signs of one row after `count` decisions, each looked up by itself."""
    known, depth, sign = (np.full(whole.shape, one) for one in (0, 0, 1))
    for j, plane, kind in zip(*(part[:count] for part in asked[:3]), strict=True):
        now = whole[0, j] >> (planes - 1 - plane)
        if (kind == ZERO and now == 1) or (kind == NEXT and now > 1):
            known[0, j], depth[0, j] = now, plane + 1
            sign[0, j] = -1 if negative[0, j] else 1
    return known, depth, sign


@given(st.integers(6, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_what_is_read_is_what_was_written(size, seed):
    """All that the decisions say comes back, as far as the bytes go: the coder holds five back at most."""
    model = gaussian_model()
    asked = decisions(model)
    y = np.random.default_rng(seed).standard_normal((1, 6)) * 0.08 * 0.7 ** np.arange(6)
    whole = np.minimum(np.abs(y) * 2**PLANES, limits(asked, 6, PLANES)).astype(np.int32)
    packed = np.zeros((1, size), np.uint8)
    begun = write(whole, y < 0, PLANES, asked, packed)[0, 0]
    settled = write(whole, y < 0, PLANES, asked, np.zeros((1, size - 5), np.uint8))[0, 0]
    found = read(packed, 6, asked)
    assert any(
        all(map(np.array_equal, found, told(whole, y < 0, PLANES, asked, count))) for count in range(settled, begun + 1)
    )


def test_an_outlier_beyond_all_fit_rows_is_cut_and_leaves_the_others_alone():
    codec = fitted(256)
    plain = TEST[:1].copy()
    odd = plain.copy()
    axis = np.linalg.pinv(codec.shared["axes"].astype(float))[3] * 127
    odd += (1000 * axis).astype(np.float32)
    found = (codec.decode(codec.encode(odd)) - TEST[:1])[0]
    spread = TRAIN @ axis
    along = float(found @ axis / (axis @ axis))
    assert spread.std() < along < 20 * spread.std()
    assert np.linalg.norm(found - along * axis) < 0.2


# --- the codec ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "most"), [(32, 2.5), (64, 2.8), (128, 3.2)])
def test_the_error_is_near_the_gaussian_limit(bits, most):
    """In dB. Uniform scalar quantizers with entropy coding end 1.53 dB above it, steps spread over a factor of two add
    0.34 dB, and a fixed length the rest."""
    gap = 10 * np.log10(error(fitted(bits), TEST) / water_filling.distortion(SPECTRUM, bits))
    assert 0 < gap < most


def test_the_error_falls_by_6_decibels_a_bit_and_component():
    coarse, fine = (error(fitted(bits), TEST) for bits in (128, 128 + 2 * 32))
    assert 10 * np.log10(coarse / fine) == pytest.approx(12.04, abs=0.8)


@pytest.mark.parametrize("bits", [8, 64, 200])
def test_a_prefix_of_a_code_is_a_code_and_as_good_as_one_of_that_size(bits):
    long = fitted(320)
    cut = long.prefix(bits)
    whole = long.encode(TEST)["bytes"][:, : bits // 8]
    np.testing.assert_array_equal(cut.encode(TEST)["bytes"], whole)
    assert error(cut, TEST) == pytest.approx(error(fitted(bits), TEST), rel=1e-3)


@pytest.mark.parametrize("bits", [0, 12, 72, -8])
def test_a_size_that_is_no_prefix_is_refused(bits):
    with pytest.raises(UserError, match=f"bit_planes_64: {bits} bits are no prefix of 8 bytes"):
        fitted(64).prefix(bits)


def test_more_bytes_have_less_error():
    codec = fitted(512)
    errors = [error(codec.prefix(bits), TEST) for bits in range(8, 513, 24)]
    assert (np.diff(errors) < 0).all()


def test_components_without_decisions_are_not_shared():
    codec = fitted(8)
    used = len(np.unique(apart(codec.shared["order"].astype(int), codec.shared["zero"].shape[1])[0]))
    assert codec.shared["axes"].shape == (32, used)
    assert used < 32


# --- bad input ------------------------------------------------------------------------------------------------------


def test_rows_that_are_all_alike_take_a_byte_and_it_is_said(caplog):
    x = np.ones((10, 3), np.float32)
    assert fitted(16, x).encode(x).nbytes == len(x)
    assert "bit_planes_16: the vectors hold 1 byte at most, not 2" in caplog.text


def test_one_dimension_and_fewer_rows_than_dimensions():
    x = np.linspace(-1, 1, 50, dtype=np.float32)[:, None]
    assert error(fitted(16, x), x) < 1e-5
    assert error(fitted(32, TRAIN[:5]), TRAIN[:5]) < 0.02 * TRAIN[:5].var(axis=0).sum()


def test_a_budget_beyond_what_the_vectors_hold_ends_there_and_says_so(caplog, tmp_path):
    codec = fitted(8192)
    assert f"bit_planes_8192: the vectors hold {codec.size} bytes at most, not 1024" in caplog.text
    assert 32 * 10 / 8 < codec.size < 32 * PLANES / 8
    save(codec, "bit_planes", tmp_path / "codec.safetensors", {})
    again = load(tmp_path / "codec.safetensors")
    assert again.encode(TEST).nbytes == len(TEST) * codec.size
    assert error(again, TEST) < 32 * 4.0**-PLANES * 4000


@pytest.mark.parametrize("name", ["bit_planes", "bit_planes_0", "bit_planes_12", "bit_planes_064", "bit_planes_131072"])
def test_other_names_are_refused(name):
    with pytest.raises(UserError, match=f"bit_planes has no codec '{name}'"):
        build(name, 0)


def test_codes_of_another_size_are_refused():
    with pytest.raises(UserError, match="bit_planes_64"):
        fitted(64).decode(Codes({"bytes": np.zeros((3, 9), np.uint8)}))


@pytest.mark.parametrize(("name", "fault"), [("order", "beyond the tables"), ("zero", "zero, first and rise")])
def test_shared_arrays_that_would_lead_out_of_the_tables_are_refused(name, fault):
    codec = fitted(64)
    wrong = {"order": np.array([60000], np.uint16), "zero": codec.shared["zero"][:-1]}
    codec.shared[name] = wrong[name]
    with pytest.raises(UserError, match=f"bit_planes_64: .*{fault}"):
        codec.encode(TEST)
