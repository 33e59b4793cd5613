"""The published taps in rationals, the stability bound, and the kernel against the step function, bit for bit."""

from fractions import Fraction
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.neurons import sigma_delta
from pipeline.neurons.sigma_delta import MEMORY, TAPS, bound, modulate, reference, step
from pipeline.stage import UserError

ORDERS = (0, 1, 2, 3)
shapes = st.tuples(st.integers(1, 90), st.integers(1, 20))


def scaled(values: np.ndarray, order: int) -> np.ndarray:
    """Values in [-1, 1] to drives inside the bound by more than float32 rounds."""
    limit = bound(order)
    return (values * np.float32(1 if limit is None else float(limit) * (1 - 2**-16))).astype(np.float32)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_moments_are_exact_in_rationals(order: int) -> None:
    for k in range(order):
        assert sum(weight * delay**k for delay, weight in TAPS[order].items()) == (1 if k == 0 else 0)
    assert sum(weight * delay**order for delay, weight in TAPS[order].items()) != 0  # of no higher order
    assert all(isinstance(weight, Fraction) and 0 < delay < MEMORY for delay, weight in TAPS[order].items())


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_taps_are_the_published_ones(order: int) -> None:
    """Delays n_j = 6 (j - 1)^2 + 1; the r moments leave Lagrange's weights at 0, the product of n_i / (n_i - n_j)."""
    delays = [6 * j**2 + 1 for j in range(order)]
    expected = {n: prod(Fraction(other, other - n) for other in delays if other != n) for n in delays}
    assert TAPS[order] == expected


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("wrong", [Fraction(1, 432), Fraction(-1, 10**9)])
def test_a_wrong_tap_fails_the_moments(order: int, wrong: Fraction, monkeypatch: pytest.MonkeyPatch) -> None:
    published = dict(TAPS[order])
    for place, weight in published.items():
        for other in (weight + wrong, -weight):
            monkeypatch.setitem(TAPS, order, {**published, place: other})
            with pytest.raises(AssertionError):
                test_the_moments_are_exact_in_rationals(order)


def test_the_published_bounds() -> None:
    assert [bound(order) for order in ORDERS] == [None, 1, Fraction(2, 3), Fraction(29, 54)]
    with pytest.raises(UserError, match="no modulator of order 4"):
        bound(4)


@pytest.mark.parametrize("order", [1, 2, 3])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_inside_the_bound_v_stays_within_one_in_rationals(order: int, data: st.DataObject) -> None:
    limit = bound(order)
    assert limit is not None
    drives = data.draw(st.lists(st.sampled_from([-1, 1, Fraction(9, 10), Fraction(-1, 3), 0]), min_size=1, max_size=80))
    v: list[Fraction] = []
    for y in drives:
        a = y * limit + sum(weight * v[-delay] for delay, weight in TAPS[order].items() if delay <= len(v))
        v.append(a - (1 if a >= 0 else -1))
        assert abs(v[-1]) <= 1


@pytest.mark.parametrize("order", ORDERS)
@given(values=shapes.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=st.floats(-1, 1, width=32))))
@settings(max_examples=40, deadline=None)
def test_the_kernel_is_the_step_function_bit_for_bit(order: int, values: np.ndarray) -> None:
    drive = scaled(values, order)
    signs, errors = reference(drive, order)
    np.testing.assert_array_equal(modulate(drive, order), np.packbits(signs.T > 0, axis=1))
    if order:
        assert np.abs(errors).max() <= 1


@pytest.mark.parametrize("order", ORDERS)
def test_the_kernel_on_more_vectors_than_it_takes_at_a_time_and_many_steps(order: int) -> None:
    drive = scaled(np.random.default_rng(order).uniform(-1, 1, (3001, sigma_delta.LANES + 7)).astype(np.float32), order)
    signs, errors = reference(drive, order)
    np.testing.assert_array_equal(modulate(drive, order), np.packbits(signs.T > 0, axis=1))
    assert not order or np.abs(errors).max() <= 1


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_equation_holds(order: int) -> None:
    drive = scaled(np.random.default_rng(0).uniform(-1, 1, (200, 3)).astype(np.float32), order).astype(np.float64)
    q, v = reference(drive, order)
    fed = np.zeros_like(v)
    for delay, weight in TAPS[order].items():
        fed[delay:] += float(weight) * v[:-delay]
    np.testing.assert_allclose(drive - q, v - fed, atol=1e-12)
    assert set(np.unique(q)) == {-1.0, 1.0}


def test_of_first_order_it_is_an_integrate_and_fire_neuron_with_soft_reset() -> None:
    current = np.random.default_rng(1).uniform(-1, 1, 500)
    potential, spikes = 0.0, []
    for y in current:
        potential += y
        spikes.append(1.0 if potential >= 0 else -1.0)
        potential -= spikes[-1]
    np.testing.assert_array_equal(reference(current[:, None], 1)[0][:, 0], spikes)
    assert abs(np.mean(spikes) - current.mean()) <= 1 / 500  # it forgets nothing: spikes sum up to the input


def test_a_step_is_pure_and_zero_is_up() -> None:
    state = np.zeros((MEMORY, 2), np.float32)
    after, q = step(state, np.array([0.0, -0.25], np.float32), 2)
    assert q.tolist() == [1, -1]
    assert after[0].tolist() == [-1, 0.75]
    assert not state.any()
    assert modulate(np.array([[0.0], [-0.0]], np.float32), 0).tolist() == [[0b11000000]]


@pytest.mark.parametrize(("order", "limit"), [(1, "1"), (2, "2/3"), (3, "29/54")])
def test_a_drive_above_the_bound_is_refused(order: int, limit: str) -> None:
    exact = bound(order)
    assert exact is not None
    edge = np.float32(float(exact))
    modulate(np.full((5, 2), edge), order)
    for bad in (np.nextafter(edge, np.float32(2)), -np.float32(1.5), np.float32(np.nan), np.float32(np.inf)):
        drive = np.zeros((5, 2), np.float32)
        drive[4, 1] = bad
        with pytest.raises(UserError, match=rf"order {order}: a drive of .* above the stable bound .* = {limit}$"):
            modulate(drive, order)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_greedy_refuses_what_is_no_number(bad: float) -> None:
    with pytest.raises(UserError, match="order 0: a drive of"):
        modulate(np.array([[bad]], np.float32), 0)
