import struct
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.codec import Codes, load, save
from pipeline.spikes.transport import build
from pipeline.stage import UserError

shapes = st.tuples(st.integers(1, 9), st.integers(1, 20))
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
tables = shapes.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=finite))
LARGEST_BF16 = float(torch.finfo(torch.bfloat16).max)
NAMES = ("transport_float32", "transport_bf16")


def table(*values):
    return np.array([values], np.float32)


@given(tables)
def test_every_finite_float32_comes_back_bit_for_bit(x):
    codec = build("transport_float32", 0).fit(x)
    decoded = codec.decode(codec.encode(x))
    assert decoded.dtype == np.float32
    assert decoded.tobytes() == x.tobytes()
    assert not codec.outside(x).any()


@given(tables)
def test_bf16_is_the_nearest_even_and_comes_back_bit_for_bit(x):
    codec = build("transport_bf16", 0).fit(x)
    decoded = codec.decode(codec.encode(x))
    nearest = torch.from_numpy(x).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(codec.outside(x), np.isinf(nearest))
    expected = np.where(np.isinf(nearest), np.copysign(np.float32(LARGEST_BF16), x), nearest)
    assert decoded.tobytes() == expected.tobytes()
    assert codec.decode(codec.encode(decoded)).tobytes() == decoded.tobytes()
    np.testing.assert_array_equal(codec.integers(x), codec.stored_integers(codec.encode(x)))


def test_all_finite_bf16_come_back():
    patterns = np.arange(2**16, dtype=np.uint32)
    x = (patterns[patterns & 0x7FFF < 0x7F80] << 16).view(np.float32).reshape(-1, 255)
    codec = build("transport_bf16", 0).fit(x)
    assert codec.decode(codec.encode(x)).tobytes() == x.tobytes()
    assert not codec.outside(x).any()


def test_the_slots_are_the_bits_as_the_machine_has_them_the_highest_first():
    values = (-0.0, 1e-45, -1.5, 3.14159, 3.4028235e38)
    codec = build("transport_float32", 0).fit(table(*values))
    spikes = codec.spike_train(codec.encode(table(*values))).to_dense()[:, 0]
    for neuron, value in enumerate(values):
        (pattern,) = struct.unpack(">I", struct.pack(">f", value))
        assert "".join(str(int(spike)) for spike in spikes[:, neuron]) == format(pattern, "032b")


def test_ties_of_bf16_go_to_even():
    """bf16 has 7 bits behind the point: 1 + 2^-8 and 1 + 3 2^-8 lie halfway."""
    x = table(1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20, LARGEST_BF16 * 1.003, -LARGEST_BF16 * 1.003)
    codec = build("transport_bf16", 0).fit(x)
    expected = table(1, 1 + 4 * 2.0**-8, 1 + 2 * 2.0**-8, LARGEST_BF16, -LARGEST_BF16)
    np.testing.assert_array_equal(codec.decode(codec.encode(x)), expected)
    np.testing.assert_array_equal(codec.outside(x), [[False, False, False, True, True]])


@pytest.mark.parametrize("name", NAMES)
def test_cost_steps_and_a_saved_codec(name, tmp_path):
    x = np.random.default_rng(0).standard_normal((7, 13)).astype(np.float32)
    codec = build(name, 0).fit(x)
    steps = {"transport_float32": 32, "transport_bf16": 16}[name]
    codes = codec.encode(x)
    assert codec.timesteps == steps
    assert codes.nbytes == 7 * steps * 2
    assert not codec.learns
    save(codec, "transport", tmp_path / "codec", {"seed": 0})
    assert load(tmp_path / "codec").decode(codes).tobytes() == codec.decode(codes).tobytes()


def test_many_rows_at_once_hold_little_more_than_their_spikes():
    x = np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32)
    codec = build("transport_float32", 0).fit(x)
    codec.encode(x[:1])
    tracemalloc.start()
    codes = codec.encode(x)
    encoding = tracemalloc.get_traced_memory()[1]
    decoded = codec.decode(codes)
    decoding = tracemalloc.get_traced_memory()[1] - codes.nbytes
    tracemalloc.stop()
    assert decoded.tobytes() == x.tobytes()
    assert encoding < codes.nbytes + 0.75 * x.nbytes
    assert decoding < 2.5 * x.nbytes


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(fault):
    codec = build("transport_float32", 0).fit(table(1, 2))
    with pytest.raises(UserError, match="vector 0 holds NaN or infinity"):
        codec.encode(table(1, fault))


def test_codes_of_another_code_are_refused():
    codec = build("transport_bf16", 0).fit(table(1, 2))
    with pytest.raises(UserError, match=r"expected is spikes uint8\[16, 1\]"):
        codec.decode(build("transport_float32", 0).fit(table(1, 2)).encode(table(1, 2)))
    with pytest.raises(UserError, match="a neuron beyond the last, 1"):
        codec.decode(Codes({"spikes": np.full((1, 16, 1), 0xFF, np.uint8)}))


@pytest.mark.parametrize("name", ["transport", "transport_16", "transport_float16", ""])
def test_unknown_names(name):
    with pytest.raises(UserError, match="transport has no codec"):
        build(name, 0)
