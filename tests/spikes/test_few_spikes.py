import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.codec import shared_bytes
from pipeline.spikes import calibration, phase
from pipeline.spikes.few_spikes import Sample, build, even, learned
from pipeline.stage import UserError


def rows(count, dims, seed=0):
    """Of dimensions with ranges of their own, as embeddings have them."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, dims)) * np.linspace(0.5, 2, dims) + 0.3).astype(np.float32)


def error(codec, x):
    return float(np.square(codec.decode(codec.encode(x)) - x, dtype=np.float64).sum())


@settings(max_examples=10)
@given(st.integers(1, 8), st.integers(1, 60), st.integers(1, 9), st.integers(0, 99))
def test_never_worse_than_the_phase_code_on_its_fit_rows(steps, count, dims, seed):
    x = rows(count, dims, seed)
    found = error(build(f"few_spikes_{steps}", 0).fit(x), x)
    assert found <= error(phase.build(f"phase_{steps}", 0).fit(x), x) * (1 + 1e-5) + 1e-9 * np.square(x).sum()


@pytest.mark.parametrize(("steps", "gain"), [(2, 4), (3, 2), (4, 1.5), (6, 1.03)])
def test_few_steps_are_much_better_than_the_phase_code_also_on_unseen_rows(steps, gain):
    fit, unseen = rows(3000, 6), rows(3000, 6, seed=1)
    learnt, fixed = build(f"few_spikes_{steps}", 0).fit(fit), phase.build(f"phase_{steps}", 0).fit(fit)
    assert error(learnt, fit) * gain < error(fixed, fit)
    assert error(learnt, unseen) * gain < error(fixed, unseen)


@pytest.mark.parametrize("steps", [7, 8, 9])
def test_more_steps_are_not_worse_on_unseen_rows(steps):
    """As they would be if the range were narrowed by rows that are all within it."""
    fit, unseen = rows(600, 20), rows(3000, 20, seed=1)
    learnt, fixed = build(f"few_spikes_{steps}", 0).fit(fit), phase.build(f"phase_{steps}", 0).fit(fit)
    assert error(learnt, unseen) <= error(fixed, unseen) * 1.00001


@pytest.mark.parametrize("seed", range(3))
def test_descent_goes_on_below_the_best_even_levels(seed):
    """Of a lopsided distribution, where they are far from the best."""
    u = np.sort(np.random.default_rng(seed).exponential(1.5, 4000).clip(0, 15))
    sample = Sample(u + 0.5, np.ones(len(u)))

    def left(neuron):
        spikes, v = [np.ones(len(u))], sample.potential.copy()
        for threshold, reset in zip(*neuron, strict=True):
            spikes.append((v >= threshold).astype(float))
            v -= reset * spikes[-1]
        design = np.stack(spikes, axis=1)
        return np.square(u - design @ np.linalg.lstsq(design, u, rcond=None)[0]).sum()

    assert left(learned(sample, 4)) < 0.7 * min(left(even(4, shrink)) for shrink in np.linspace(0.3, 1.2, 37))


@pytest.mark.parametrize("steps", [1, 4, 9])
def test_spikes_are_those_of_the_neuron_value_by_value(steps):
    x = rows(40, 5)
    codec = build(f"few_spikes_{steps}", 0).fit(x)
    shared = codec.shared
    dense = codec.spike_train(codec.encode(x)).to_dense()
    for row in range(0, 40, 7):
        for j in range(5):
            v = (x[row, j] - shared["zero"][j]) / shared["step"][j] + np.float32(0.5)
            total = shared["rest"][0]
            for t in range(steps):
                z = v >= shared["threshold"][t]
                assert dense[t, row, j] == z
                v -= shared["reset"][t] * z
                total += shared["readout"][t] * z
            found = codec.decode(codec.encode(x[row : row + 1]))[0, j]
            assert found == pytest.approx(shared["zero"][j] + shared["step"][j] * total, rel=1e-5, abs=1e-5)


def test_the_phase_code_is_one_of_these_neurons():
    x = rows(200, 9)
    codec, fixed = build("few_spikes_8", 0), phase.build("phase_8", 0).fit(x)
    places = (2.0 ** np.arange(7, -1, -1)).astype(np.float32)
    codec.shared = {**fixed.shared, **dict.fromkeys(("threshold", "reset", "readout"), places)}
    codec.shared["rest"] = np.zeros(1, np.float32)
    np.testing.assert_array_equal(codec.encode(x)["spikes"], fixed.encode(x)["spikes"])
    np.testing.assert_array_equal(codec.decode(codec.encode(x)), fixed.decode(fixed.encode(x)))


def test_what_is_shared():
    codec = build("few_spikes_4", 0).fit(rows(50, 7))
    assert shared_bytes(codec) == 4 * (2 * 7 + 3 * 4 + 1)
    assert codec.encode(rows(3, 7)).nbytes == 3 * 4


def test_the_same_rows_give_the_same_neuron():
    a, b = (build("few_spikes_4", seed).fit(rows(99, 3)) for seed in (0, 1))
    for name, value in a.shared.items():
        np.testing.assert_array_equal(value, b.shared[name])


@pytest.mark.parametrize("x", [np.zeros((4, 3)), [[1, 0, -2]], [[1], [1]], np.full((3, 2), 1e38)])
def test_constants_and_few_rows(x):
    x = np.array(x, np.float32)
    codec = build("few_spikes_6", 0).fit(x)
    np.testing.assert_allclose(codec.decode(codec.encode(x)), x, rtol=0.03)


def test_values_beyond_the_range_get_the_outermost_level_or_are_refused():
    x = rows(50, 3)
    codec = build("few_spikes_4", 0).fit(x)
    assert not codec.outside(x).any()
    far = np.array([[1e38] * 3, [-1e38] * 3], np.float32)
    assert codec.outside(far).all()
    ends = codec.shared["rest"] + np.array([codec.shared["readout"].sum(), 0])
    np.testing.assert_allclose(
        codec.decode(codec.encode(far)), ends[:, None] * codec.shared["step"] + codec.shared["zero"], rtol=1e-5
    )
    codec.chosen = calibration.Choice(beyond="refuse")
    codec.fit(x)
    codec.encode(x)
    with pytest.raises(UserError, match=r"vector 0: value 1e\+38 of dimension 0 is outside"):
        codec.encode(far)


@pytest.mark.parametrize("name", ["few_spikes_0", "few_spikes_17", "few_spikes", "few_spikes_8_1"])
def test_unknown_names(name):
    with pytest.raises(UserError, match=r"its names are few_spikes_<steps>, 1 to 16 steps"):
        build(name, 0)
