import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codecs.range_coder import Reader, Writer, categorical_model, stack_bytes, stack_symbols


@given(st.lists(st.tuples(st.integers(1, 2**36 - 1), st.floats(0, 1, exclude_max=True)), min_size=1, max_size=50))
def test_uniform_values_of_any_size_come_back(pairs):
    sizes = np.array([size for size, _ in pairs], np.int64)
    values = np.array([int(size * share) for size, share in pairs], np.int64)
    writer = Writer()
    writer.uniform(values, sizes)
    np.testing.assert_array_equal(Reader(writer.bytes()).uniform(sizes), values)


def test_a_mixed_message_comes_back_and_costs_its_entropy():
    rng = np.random.default_rng(0)
    mean, deviation = rng.normal(0, 30, 5000), rng.uniform(5, 50, 5000)
    symbols = np.rint(rng.normal(mean, deviation)).astype(np.int64)
    kinds, chances = rng.choice(3, 1000, p=[0.7, 0.2, 0.1]), np.array([0.7, 0.2, 0.1])
    sizes = np.full(400, 10_000)
    values = rng.integers(0, sizes)
    writer = Writer()
    writer.gaussian(symbols, 1000, mean, deviation)
    writer.categorical(kinds, chances)
    writer.uniform(values, sizes)
    message = writer.bytes()
    reader = Reader(message)
    np.testing.assert_array_equal(reader.gaussian(1000, mean, deviation), symbols)
    np.testing.assert_array_equal(reader.categorical(1000, chances), kinds)
    np.testing.assert_array_equal(reader.uniform(sizes), values)
    bits = np.log2(deviation * np.sqrt(2 * np.pi * np.e)).sum() + 1000 * 1.157 + 400 * np.log2(10_000)
    assert len(message) * 8 == pytest.approx(bits, rel=0.01)


def test_a_size_of_one_costs_nothing():
    writer = Writer()
    writer.uniform(np.zeros(1000, np.int64), np.ones(1000, np.int64))
    assert writer.bytes() == b""


def test_a_short_stack_costs_its_bits_and_its_bottom():
    family = categorical_model(np.array([[1, 1]], np.uint8))
    symbols = np.random.default_rng(0).integers(0, 2, 80).astype(np.int32)
    message = stack_bytes(symbols, 2**32 - 1, *family)
    assert len(message) <= 80 / 8 + 4 + 1
    found, bottom = stack_symbols(message, 80, *family)
    np.testing.assert_array_equal(found, symbols)
    assert bottom == 2**32 - 1
    with pytest.raises(ValueError, match="left over"):
        stack_symbols(message, 40, *family)


def test_models_of_each_symbol():
    counts = np.array([[255, 1, 1], [1, 255, 1], [1, 1, 255], [1, 1, 255]], np.uint8)
    symbols = np.array([0, 1, 2, 2], np.int32)
    message = stack_bytes(symbols, 2**32 - 1, *categorical_model(counts))
    assert len(message) <= 5
    np.testing.assert_array_equal(stack_symbols(message, 4, *categorical_model(counts))[0], symbols)
