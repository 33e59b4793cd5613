import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codecs.positional import BINARY, NO_BIN, System, bins, coarse_step, detect, layout, zeros

SYSTEMS = [BINARY, System(10, 5, -8), System(10, 8, -4), System(10, 3, 0)]


@pytest.mark.parametrize("system", SYSTEMS, ids=str)
@given(numbers=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), step=st.integers(-30, 10))
def test_bin_and_remainder_give_the_value_back(system, numbers, step):
    x = np.array(numbers, np.float32)
    m, e, fits = system.split(x)
    x, m, e = x[fits], m[fits], e[fits]
    steps = np.full(len(x), max(step, system.lowest), np.int16)
    number = bins(system, m, e, np.ones(len(x), bool), np.signbit(x), steps)
    kept = number != NO_BIN
    x, m, e, steps, number = x[kept], m[kept], e[kept], steps[kept], number[kept]
    near = (number == 0) | (number == -1)
    empty = np.where(near, zeros(system, m, e, steps), 0)
    found, least, count = layout(system, number, empty, steps)
    np.testing.assert_array_equal(found[m > 0], e[m > 0])
    assert np.all((m >= least) & (m < least + count))  # a remainder there is, below the size that is announced
    np.testing.assert_array_equal(system.join(m, found, number < 0).view(np.uint32), x.view(np.uint32))
    width = float(system.base) ** steps
    inside = (np.abs(x) >= np.where(number < 0, ~number, number) * width * (1 - 1e-6)) & (
        np.abs(x) <= (np.where(number < 0, ~number, number) + 1) * width * (1 + 1e-6)
    )
    assert inside.all()


def test_bins_by_hand():
    x = np.array([0.0, 0.24, 0.25, 1.0, -0.0, -0.24, -0.25, -1.0], np.float32)
    m, e, fits = BINARY.split(x)
    found = bins(BINARY, m, e, fits, np.signbit(x), np.full(8, -2, np.int16))
    assert found.tolist() == [0, 0, 1, 4, -1, -1, -2, -5]
    _, _, count = layout(BINARY, np.array([4, 1]), np.zeros(2, int), np.array([-2, -2], np.int16))
    assert count.tolist() == [2**21, 2**23]  # floats in [1, 1.25) and in [0.25, 0.5)


def test_what_the_system_lacks_has_no_bin():
    x = np.array([np.nan, np.inf, 1e38], np.float32)
    m, e, fits = BINARY.split(x)
    assert np.all(bins(BINARY, m, e, fits, np.signbit(x), np.full(3, -10, np.int16)) == NO_BIN)


def test_detection():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(5000) * 3
    assert detect(x.astype(np.float32), 0) == BINARY
    assert detect((x * 1e-42).astype(np.float32), 0) == BINARY
    assert detect(np.full(5, np.nan, np.float32), 0) == BINARY
    assert detect(np.zeros(5, np.float32), 0) == BINARY
    four = detect(np.array([float(f"{value:.4f}") for value in x], np.float32), 0)
    assert (four.base, four.lowest) == (10, -4)
    five = detect(np.array([float(f"{value:.4e}") for value in x], np.float32), 0)
    assert (five.base, five.digits) == (10, 5)
    whole = detect(np.rint(x * 100).astype(np.float32), 0)
    assert (whole.base, whole.lowest) == (10, 0)


def test_detection_bears_a_few_exceptions():
    x = np.random.default_rng(0).standard_normal(5000).round(3).astype(np.float32)
    x[:50] = np.pi
    assert detect(x, 0).base == 10


@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0])
def test_a_bin_is_a_sixty_fourth_of_the_spread_or_less(spread):
    for system in (BINARY, System(10, 5, -8)):
        width = float(system.base) ** coarse_step(system, np.array([spread]), np.array([0]))[0]
        assert spread / 64 / system.base * 0.99 < width <= spread / 64 * 1.01
    assert coarse_step(BINARY, np.zeros(1), np.array([-7]))[0] == -7
