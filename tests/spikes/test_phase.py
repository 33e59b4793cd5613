"""The phase code: the bits of an integer, step by step. All integers come back, and a value within half a step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.codec import Quantizing, Spiking, load, save, shared_bytes
from pipeline.spikes.integer_code import SpikeCode
from pipeline.spikes.phase import build
from pipeline.stage import UserError


def normal(rows, dims, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32)


@pytest.mark.parametrize("bits", range(1, 17))
def test_all_integers_come_back(bits):
    codec = build(f"phase_{bits}", 0)
    q = np.resize(np.arange(2**bits, dtype=np.int32), (-(-(2**bits) // 13), 13))
    train = codec.to_spikes(q)
    assert (train.timesteps, train.neurons, train.signed) == (bits, 13, False)
    np.testing.assert_array_equal(codec.to_integers(train), q)
    assert train.spikes == sum(bin(value).count("1") for value in q.ravel().tolist())


@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_a_spike_is_a_bit_of_the_integer_the_highest_first(bits):
    q = np.random.default_rng(bits).integers(0, 2**bits, (5, 11)).astype(np.int32)
    dense = build(f"phase_{bits}", 0).to_spikes(q).to_dense()
    for row, dimension in np.ndindex(q.shape):
        assert "".join(str(int(spike)) for spike in dense[:, row, dimension]) == format(q[row, dimension], f"0{bits}b")


@pytest.mark.parametrize("bits", [1, 5, 8, 16])
def test_the_neuron_that_doubles_fires_these_spikes(bits):
    """Integrate-and-fire, beta = 2, soft reset, threshold 2^(K-1); the potential starts at the integer."""
    q = np.random.default_rng(bits).integers(0, 2**bits, (5, 11)).astype(np.int32)
    dense, threshold = build(f"phase_{bits}", 0).to_spikes(q).to_dense(), 2 ** (bits - 1)
    for (row, dimension), start in np.ndenumerate(q):
        potential = int(start)
        for step in range(bits):
            spike = potential >= threshold
            assert dense[step, row, dimension] == spike
            potential = 2 * (potential - threshold * spike)
        assert potential == 0


TABLES = st.tuples(st.integers(1, 9), st.integers(1, 20)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=st.floats(-1, 1, width=32, allow_subnormal=False))
)


@given(TABLES, st.integers(1, 16))
def test_the_error_is_at_most_half_a_step(x, bits):
    codec = build(f"phase_{bits}", 0).fit(x)
    codes = codec.encode(x)
    assert codes["spikes"].shape == (len(x), bits, -(-x.shape[1] // 8))
    reach = np.abs(x.astype(np.float64)).max(axis=0)
    error = np.abs(codec.decode(codes).astype(np.float64) - x)
    assert np.all(error <= reach / (2**bits - 1) + 5e-7 * reach + 1e-37)


@given(TABLES, st.integers(1, 16))
def test_the_integers_of_the_codes_are_those_that_values_are_rounded_to(x, bits):
    codec = build(f"phase_{bits}", 0).fit(x)
    np.testing.assert_array_equal(codec.stored_integers(codec.encode(x)), codec.integers(x))


def test_what_it_is(tmp_path):
    x = normal(200, 12)
    codec = build("phase_8", 0).fit(x)
    assert isinstance(codec, SpikeCode)
    assert isinstance(codec, Spiking)
    assert isinstance(codec, Quantizing)
    assert (codec.family, codec.timesteps, codec.neurons, codec.lowest, codec.highest) == ("spikes", 8, 12, 0, 255)
    assert shared_bytes(codec) == 2 * 4 * 12
    codes = codec.encode(x)
    assert codes.nbytes == 200 * 8 * 2
    train = codec.spike_train(codes)
    assert 3.5 < train.spikes / x.size < 4.5
    save(codec, "phase", tmp_path / "c", {})
    np.testing.assert_array_equal(load(tmp_path / "c").decode(codes), codec.decode(codes))


def test_codes_of_another_code_are_refused():
    x = normal(20, 12)
    other = build("phase_7", 0).fit(x).encode(x)
    with pytest.raises(UserError, match=r"a vector has spikes uint8\[7, 2\]; expected is spikes uint8\[8, 2\]"):
        build("phase_8", 0).fit(x).decode(other)


@pytest.mark.parametrize("name", ["phase_0", "phase_17", "phase_08", "phase_", "phase_8.5", "naf_8", "phase_٨"])
def test_names_that_there_are_not(name):
    with pytest.raises(UserError) as error:
        build(name, 0)
    assert str(error.value) == (
        f"representations: phase has no codec {name!r}; its names are phase_<bits>, 1 to 16 bits"
    )
