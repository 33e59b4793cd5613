"""Trees of cells: each bit halves a cell where the error falls most, and what the rows do not tell is not learned."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codecs import refinement_tree
from pipeline.codecs.refinement_tree import FEWEST, rising
from pipeline.codecs.successive_refinement import GAUSSIAN_ERRORS


def leaves(tree, bits):
    """The last depth's means, from left to right."""
    return tree.means[2**bits - 2 :]


def cells(tree, y, bits):
    return np.searchsorted(rising(tree.thresholds, bits), y, side="right")


@pytest.mark.parametrize("bits", range(1, 6))
def test_the_cells_of_a_gaussian_are_near_max_s(bits):
    y = np.random.default_rng(bits).standard_normal(200_000)
    tree = refinement_tree.fit(y, bits)
    found = np.mean((y - leaves(tree, bits)[cells(tree, y, bits)]) ** 2)
    assert GAUSSIAN_ERRORS[bits] * 0.98 < found < GAUSSIAN_ERRORS[bits] * (1.02 if bits < 3 else 1.08)
    if bits == 2:
        np.testing.assert_allclose(leaves(tree, 2), [-1.510, -0.4528, 0.4528, 1.510], atol=0.02)  # Max 1960, table I


@given(st.lists(st.integers(-50, 50), min_size=FEWEST, max_size=60))
def test_a_cell_is_cut_where_no_other_cut_is_better(values):
    y = np.sort(np.array(values, float))
    tree = refinement_tree.fit(y, 1)
    if y[0] == y[-1]:
        np.testing.assert_array_equal(tree.means, [y[0], y[0]])
        return
    errors = [y[:at].var() * at + y[at:].var() * (len(y) - at) for at in range(1, len(y)) if y[at] > y[at - 1]]
    low, high = y[y < tree.thresholds[0]], y[y >= tree.thresholds[0]]
    np.testing.assert_allclose(tree.means, [low.mean(), high.mean()])
    assert low.var() * len(low) + high.var() * len(high) == pytest.approx(min(errors), abs=1e-9)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=200), st.integers(1, 6))
def test_thresholds_rise_and_means_lie_between_them(values, bits):
    tree = refinement_tree.fit(np.array(values), bits)
    cuts = rising(tree.thresholds, bits)
    assert (np.diff(cuts) >= -1e-9).all()
    bounds = np.concatenate([[-np.inf], cuts, [np.inf]])
    means = leaves(tree, bits)
    assert (means >= bounds[:-1] - 1e-9).all()
    assert (means <= bounds[1:] + 1e-9).all()


def test_a_prefix_of_the_bits_is_the_tree_of_fewer():
    y = np.random.default_rng(0).laplace(size=3000)
    deep, flat = refinement_tree.fit(y, 5), refinement_tree.fit(y, 3)
    np.testing.assert_array_equal(deep.thresholds[:7], flat.thresholds)
    np.testing.assert_array_equal(deep.means[:14], flat.means)
    np.testing.assert_array_equal(cells(deep, y, 5) >> 2, cells(flat, y, 3))


def test_a_cell_of_few_rows_is_cut_as_an_even_density_is():
    """Learning the rows themselves would make their error zero, and that of others larger."""
    rng = np.random.default_rng(0)
    y, others = rng.uniform(-1, 1, FEWEST - 1), rng.uniform(-1, 1, 10_000)
    tree = refinement_tree.fit(y, 4)
    np.testing.assert_allclose(tree.thresholds[0], y.mean())
    np.testing.assert_allclose(tree.means[:2], y.mean() + np.array([-1, 1]) * 3**0.5 / 2 * y.std())
    assert np.mean((others - leaves(tree, 4)[cells(tree, others, 4)]) ** 2) < 3 * (2 / 16) ** 2 / 12


@pytest.mark.parametrize("seed", range(4))
def test_thresholds_rise_where_cells_have_few_rows(seed):
    """Means that are put where those of an even density are may lie outside their cells; thresholds may not."""
    tree = refinement_tree.fit(np.random.default_rng(seed).standard_normal(1500), 8)
    assert (np.diff(rising(tree.thresholds, 8)) >= 0).all()
