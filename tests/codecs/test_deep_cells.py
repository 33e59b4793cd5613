"""Bits beyond a tree: cells that hold their values, whose prefixes are cells, and outer leaves without an end."""

import numpy as np
import pytest

from pipeline.codecs import deep_cells

CUTS = np.array([-2.0, -0.5, 0.0, 0.25, 0.25, 3.0], np.float32)
LEAVES = deep_cells.leaves(CUTS, np.array([1.5, 0.5], np.float32))
Y = np.concatenate([np.random.default_rng(0).standard_cauchy(5000) * 3, CUTS, [-1e6, 1e6, -60, 60]]).astype(np.float32)
LEAF = np.searchsorted(CUTS, Y, side="right").astype(np.uint8)


@pytest.mark.parametrize("bits", range(1, 9))
def test_a_value_decodes_to_the_middle_of_its_cell(bits):
    digits = deep_cells.digits(LEAVES, LEAF, Y, bits)
    found = deep_cells.middles(LEAVES, LEAF, digits, bits)
    inner = (LEAF > 0) & (len(CUTS) > LEAF)
    widths = np.diff(CUTS)[LEAF[inner] - 1]
    assert (np.abs(found - Y)[inner] <= widths / 2 ** (bits + 1) * (1 + 1e-5)).all()
    for threshold, scale, here in ((CUTS[0], 1.5, LEAF == 0), (CUTS[-1], 0.5, len(CUTS) == LEAF)):
        assert (np.sign(found[here] - threshold) == np.sign(threshold)).all()
        t, decoded = np.abs(Y[here] - threshold) / scale, np.abs(found[here] - threshold) / scale
        last = digits[here] == 2**bits - 1
        np.testing.assert_array_equal(last, t / (1 + t) >= 1 - 2.0**-bits)
        np.testing.assert_allclose(decoded[last], 2**bits - 0.5, rtol=1e-5)  # half a scale from where it begins
        t, decoded = t[~last], decoded[~last]
        assert (np.abs(t / (1 + t) - decoded / (1 + decoded)) <= (1 + 1e-4) / 2 ** (bits + 1)).all()


def test_the_first_digits_do_not_depend_on_how_many_there_are():
    whole = deep_cells.digits(LEAVES, LEAF, Y, 8)
    for bits in range(1, 8):
        np.testing.assert_array_equal(deep_cells.digits(LEAVES, LEAF, Y, bits), whole >> (8 - bits))


def test_tails_are_the_mean_distance_of_rows_outside_with_one_more_row():
    y = np.array([-4.0, -3.0, -1.0, 0.0, 3.0])
    found = deep_cells.tails(y, CUTS.astype(float))
    prior = deep_cells.PRIOR
    np.testing.assert_allclose(found, [4 * (2 + 1 + prior) / 3, 4 * (0 + prior) / 2])
    np.testing.assert_allclose(deep_cells.tails(y[2:4], CUTS), 4 * prior)


def test_an_outer_leaf_without_an_end_has_less_error_than_one_that_clips():
    """Unseen rows of a heavy tail, 8 bits, against an end half as far again as the outermost of as many fit rows."""
    rng = np.random.default_rng(1)
    fit, unseen = (3 + rng.pareto(4, (2, 200))).astype(np.float32)
    cuts = np.array([-3.0, 3.0], np.float32)
    leaves, leaf = deep_cells.leaves(cuts, deep_cells.tails(fit, cuts)), np.full(200, 2, np.uint8)
    found = deep_cells.middles(leaves, leaf, deep_cells.digits(leaves, leaf, unseen, 8), 8)
    step = 1.5 * (fit.max() - 3) / 256
    clipped = 3 + (np.minimum(np.floor((unseen - 3) / step), 255) + 0.5) * step
    assert np.square(found - unseen).mean() < 0.1 * np.square(clipped - unseen).mean()
