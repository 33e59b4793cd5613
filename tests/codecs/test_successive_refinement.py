"""Successive refinement: bits where they count, prefixes that are codes, an error near what the theory allows."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codec import Codes
from pipeline.codecs import refinement_tree
from pipeline.codecs.successive_refinement import GAUSSIAN_ERRORS, MOST, TREE, build, depths, order_bits
from pipeline.evaluation import water_filling
from pipeline.stage import UserError

SPECTRUM = 0.8 ** np.arange(24)


def correlated(count, spectrum, seed=0):
    """float32 rows whose covariance has this spectrum, turned at random, about a mean that is not zero."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.standard_normal((len(spectrum), len(spectrum))))
    return ((rng.standard_normal((count, len(spectrum))) * np.sqrt(spectrum)) @ turn + 0.3).astype(np.float32)


TRAIN, TEST = correlated(6000, SPECTRUM)[:4000], correlated(6000, SPECTRUM)[4000:]


def fitted(bits, x=TRAIN):
    return build(f"successive_refinement_{bits}", 0).fit(x)


def error(codec, x):
    return float(np.mean(np.sum((codec.decode(codec.encode(x)) - x).astype(np.float64) ** 2, axis=1)))


# --- bits -----------------------------------------------------------------------------------------------------------


def widths(variances, bits):
    return np.bincount(order_bits(np.array(variances), bits), minlength=len(variances))


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=3), st.integers(0, 8))
def test_no_other_allocation_of_as_many_bits_has_a_smaller_error(variances, bits):
    found = widths(variances, bits)
    assert found.sum() == bits
    totals = [
        np.sum(variances * GAUSSIAN_ERRORS[list(one)])
        for one in product(range(MOST + 1), repeat=len(variances))
        if sum(one) == bits
    ]
    assert np.sum(variances * GAUSSIAN_ERRORS[found]) == pytest.approx(min(totals))


def test_a_component_has_no_more_than_its_most():
    np.testing.assert_array_equal(widths([1e12, 1.0], MOST + 2), [MOST, 2])
    assert len(order_bits(np.array([1e9, 1.0]), 100)) == 2 * MOST


def test_depths_count_the_bits_before():
    np.testing.assert_array_equal(depths(np.array([0, 1, 0, 0, 2, 1])), [0, 0, 1, 2, 0, 1])


def test_bits_follow_reverse_water_filling():
    bits = 96
    level = water_filling.distortion(SPECTRUM, bits) / len(SPECTRUM)
    rates = np.maximum(0, np.log2(SPECTRUM / level) / 2)
    assert np.abs(widths(SPECTRUM, bits) - rates).max() < 1.3


# --- the codec ------------------------------------------------------------------------------------------------------


def deeper(leaf, cuts, tails, y, bits):
    """The middle of y's cell and the path to it in its leaf, of float32 numbers, as `deep_cells` has them."""
    if 0 < leaf < len(cuts):
        low, width = cuts[leaf - 1], cuts[leaf] - cuts[leaf - 1]
        number = int((y - low) / width * 2**bits)
        return low + width * (number + 0.5) / 2**bits, format(number, f"0{bits}b")
    scale, threshold = (-tails[0], cuts[0]) if leaf == 0 else (tails[1], cuts[-1])
    far = (y - threshold) / scale
    number = int(far / (1 + far) * 2**bits)
    u = (number + 0.5) / 2**bits
    t = u / (1 - u) if number < 2**bits - 1 else 2**bits - 0.5
    return threshold + scale * t, format(number, f"0{bits}b")


def reference(codec, x):
    """Rows decoded value by value, walking down the trees, and their bits as a string of 0 and 1."""
    shared = codec.shared
    widths = np.bincount(shared["order"])
    depths = np.minimum(widths, TREE)
    thresholds = np.split(shared["thresholds"].astype(float), np.cumsum(2**depths - 1)[:-1])
    means = np.split(shared["means"].astype(float), np.cumsum(2 ** (depths + 1) - 2)[:-1])
    tails = dict(zip(np.flatnonzero(widths > TREE), shared.get("tails", []), strict=True))
    rows, texts = [], []
    for vector in x - shared["mean"]:
        components, paths = [], []
        for j, y in enumerate(vector.astype(float) @ (shared["axes"] * shared["reach"].astype(float))):
            path, node = "", 0  # of the tree in breadth order; the children of i are 2 i + 1 and 2 i + 2
            while len(path) < depths[j]:
                bit = int(y >= thresholds[j][node])
                node, path = 2 * node + 1 + bit, path + str(bit)
            value = means[j][node - 1]
            if j in tails:
                cuts = np.sort(thresholds[j])
                value, more = deeper(int(path, 2), cuts, tails[j].astype(float), y, widths[j] - TREE)
                path += more
            components.append(value / shared["reach"][j])
            paths.append(iter(path))
        texts.append("".join(next(paths[j]) for j in shared["order"]))
        rows.append(np.linalg.lstsq(shared["axes"].T.astype(float), components, rcond=None)[0] + shared["mean"])
    return np.array(rows), texts


@pytest.mark.parametrize("bits", [1, 7, 40, 96, 150, 250, 384])
def test_codes_and_decoded_rows_against_a_reference(bits):
    codec = fitted(bits)
    rows, texts = reference(codec, TEST[:40])
    packed = codec.encode(TEST[:40])["bits"]
    assert packed.shape == (40, -(-bits // 8))
    found = np.unpackbits(packed, axis=1)
    wanted = np.array([list(one.ljust(8 * packed.shape[1], "0")) for one in texts]).astype(np.uint8)
    # The code's y is float32: a value so near to an edge of its cell may be in the next one, at 16 bits a component.
    assert np.count_nonzero(found != wanted) <= (0 if bits < 384 else 10)
    np.testing.assert_allclose(codec.decode(Codes({"bits": packed})), rows, atol=2e-5 if bits < 384 else 1e-4)


@pytest.mark.parametrize("bits", [48, 96, 120])
def test_the_error_is_within_what_whole_bits_and_fixed_codes_cost(bits):
    """Max's quantizers end 4.35 dB above the Gaussian limit, and are nearer to it at low rates. A rate that is off by a
    uniform half a bit to either side costs 10 log10 (1.5 / log 4) = 0.34 dB; nesting costs up to 0.3 dB."""
    least = water_filling.distortion(SPECTRUM, bits)
    assert 1 < 10 * np.log10(error(fitted(bits), TEST) / least) < 4.99


def test_rounding_the_axes_to_int8_costs_nothing():
    """Against the same cells on axes of full precision."""
    mean = TRAIN.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(TRAIN.T, bias=True))
    found = np.zeros(TEST.shape)
    for variance, axis, bits in zip(variances, axes.T, widths(variances, 96), strict=True):
        fit, y = ((part - mean) @ axis / np.sqrt(variance) for part in (TRAIN, TEST))
        tree = refinement_tree.fit(fit, bits)
        leaves = tree.means[2**bits - 2 :] if bits else np.zeros(1)
        cells = np.searchsorted(refinement_tree.rising(tree.thresholds, bits), y, side="right")
        found += np.sqrt(variance) * leaves[cells][:, None] * axis
    exact = np.mean(np.sum((found + mean - TEST) ** 2, axis=1))
    assert error(fitted(96), TEST) == pytest.approx(exact, rel=0.01)


# --- prefixes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 8, 37, 100])
def test_a_prefix_of_a_code_is_the_code_of_that_size(bits):
    long, short = fitted(120), fitted(bits)
    cut = long.prefix(bits)
    assert cut.name == short.name
    assert cut.shared.keys() == short.shared.keys()
    for name in cut.shared:
        np.testing.assert_array_equal(cut.shared[name], short.shared[name], strict=True)
    whole = np.unpackbits(long.encode(TEST)["bits"], axis=1)[:, :bits]
    np.testing.assert_array_equal(np.packbits(whole, axis=1), cut.encode(TEST)["bits"])


@pytest.mark.parametrize("bits", [0, 41, -1])
def test_a_size_that_is_no_prefix_is_refused(bits):
    with pytest.raises(UserError, match=f"successive_refinement_40: {bits} bits are no prefix of 40"):
        fitted(40).prefix(bits)


@pytest.mark.parametrize("bits", [20, 150, 200, 233, 380])
def test_a_prefix_of_a_code_of_deep_cells_is_the_code_of_its_codec(bits):
    """Bit for bit: more rows than one block, all that other numbers of columns round otherwise."""
    long, x = fitted(384), np.tile(TEST, (3, 1)) + np.arange(6000, dtype=np.float32)[:, None] / 1e4
    cut, packed = long.prefix(bits), long.encode(x)["bits"]
    first = np.packbits(np.unpackbits(packed, axis=1)[:, :bits], axis=1)
    np.testing.assert_array_equal(cut.encode(x)["bits"], first)
    short = fitted(bits)
    for name in short.shared:
        np.testing.assert_array_equal(cut.shared[name], short.shared[name], strict=True)
    np.testing.assert_array_equal(cut.decode(Codes({"bits": first})), short.decode(Codes({"bits": first})))


@pytest.mark.parametrize("bits", [100, 160, 222])
def test_a_prefix_of_fewer_components_rounds_their_values_as_the_whole_code_does(bits):
    """Cells of 16 bits are so fine that float32 sums over other numbers of columns give some values other bits."""
    x = correlated(5000, 0.3 ** np.arange(40))
    long = fitted(400, x)
    cut = long.prefix(bits)
    assert cut.shared["axes"].shape[1] < long.shared["axes"].shape[1]
    first = np.packbits(np.unpackbits(long.encode(x)["bits"], axis=1)[:, :bits], axis=1)
    np.testing.assert_array_equal(cut.encode(x)["bits"], first)


def test_a_component_of_few_bits_is_coded_in_float32_and_shares_no_tails():
    assert "tails" not in fitted(120).shared
    assert fitted(384).shared["tails"].shape == (24, 2)
    assert fitted(384).prefix(120).shared["tails"].shape == (0, 2)


def test_more_bits_have_less_error():
    errors = [error(fitted(bits), TEST) for bits in (1, 2, 8, 16, 32, 64, 128, 192, 224, 256, 320, 384)]
    assert (np.diff(errors) < 0).all()


@pytest.mark.parametrize("bits", [256, 384])
def test_deep_cells_are_near_panter_and_dite(bits):
    """Unseen rows: outer leaves that two or three of 4,000 fit rows have shaped hold most of the error."""
    expected = np.sum(SPECTRUM * GAUSSIAN_ERRORS[widths(SPECTRUM, bits)])
    assert expected < error(fitted(bits), TEST) < 8 * expected


def test_components_without_bits_are_not_shared():
    codec = fitted(16)
    used = len(np.unique(codec.shared["order"]))
    assert codec.shared["axes"].shape == (24, used)
    assert used < 17


# --- blocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [96, 300])
def test_a_fit_on_blocks_is_the_fit_on_all_rows(bits):
    whole, parts = fitted(bits), build(f"successive_refinement_{bits}", 0)
    parts.fit_blocks(lambda: iter([TRAIN[:1], TRAIN[1:700], TRAIN[700:]]))
    assert whole.shared.keys() == parts.shared.keys()
    np.testing.assert_array_equal(whole.shared["order"], parts.shared["order"])
    for name in ("mean", "reach", "thresholds", "means"):
        np.testing.assert_allclose(
            parts.shared[name].astype(float), whole.shared[name].astype(float), rtol=2e-3, atol=2e-3
        )
    assert np.abs(parts.shared["axes"].astype(int) - whole.shared["axes"]).max() <= 1
    assert error(parts, TEST) == pytest.approx(error(whole, TEST), rel=1e-2)


def test_trees_are_fitted_on_a_sample_of_rows_where_there_are_many(monkeypatch):
    monkeypatch.setattr("pipeline.codecs.successive_refinement.SAMPLE", 2000)
    sampled, other = fitted(96), build("successive_refinement_96", 1).fit(TRAIN)
    assert (sampled.shared["means"] != other.shared["means"]).any()
    np.testing.assert_array_equal(sampled.shared["axes"], other.shared["axes"])  # of all rows, whatever the seed
    monkeypatch.undo()
    np.testing.assert_allclose(sampled.shared["mean"], fitted(96).shared["mean"], rtol=1e-6)
    assert error(sampled, TEST) == pytest.approx(error(fitted(96), TEST), rel=0.05)


# --- bad input ------------------------------------------------------------------------------------------------------


def test_one_dimension_and_fewer_rows_than_dimensions():
    x = np.linspace(-1, 1, 50, dtype=np.float32)[:, None]
    assert error(fitted(8, x), x) < 1e-3
    assert error(fitted(32, TRAIN[:5]), TRAIN[:5]) < 0.05 * TRAIN[:5].var(axis=0).sum()


def test_a_budget_beyond_what_the_dimensions_hold_ends_there_and_says_so(caplog):
    codec = fitted(8192)
    assert "only 384 of its 8192 bits: 24 dimensions can have 16 at most each" in caplog.text
    assert codec.bits == 384
    assert codec.encode(TEST)["bits"].shape == (len(TEST), 48)
    assert error(codec, TEST) < error(fitted(360), TEST)


@pytest.mark.parametrize("name", ["successive_refinement", "successive_refinement_0", "successive_refinement_64_"])
def test_other_names_are_refused(name):
    with pytest.raises(UserError, match=f"successive_refinement has no codec '{name}'"):
        build(name, 0)


def test_codes_of_another_size_are_refused():
    codec = fitted(32)
    with pytest.raises(UserError, match=r"successive_refinement_32: codes of another .* expected is bits uint8\[4\]"):
        codec.decode(fitted(40).encode(TEST))
    with pytest.raises(UserError, match="vectors of 3 dimensions for a codec fitted on 24"):
        codec.encode(np.ones((2, 3), np.float32))
