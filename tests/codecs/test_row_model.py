import numpy as np
import pytest

from pipeline.codecs import row_model
from pipeline.codecs.positional import NO_BIN
from pipeline.codecs.range_coder import Reader, Writer
from pipeline.codecs.row_model import ESCAPE, LIMIT, Chain, RowModel


def related(rows, dims, seed=0):
    """Whole numbers, each dimension near the one before it, rows of different lengths."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 30, (rows, dims)) * rng.uniform(0.3, 3, (rows, 1))
    for j in range(1, dims):
        steps[:, j] += 0.9 * steps[:, j - 1]
    return np.rint(steps).astype(np.int64) + 500


def held(rows):
    return np.arange(rows) % 5 == 0


def coded(model, symbols):
    writer = Writer()
    row_model.write(model, symbols, writer)
    return writer.bytes()


@pytest.mark.parametrize("dims", [1, 2, 31, 32, 33, 70])
def test_symbols_come_back(dims):
    numbers = related(600, dims)
    model = row_model.fit(numbers, held(600))
    symbols = row_model.relative(numbers, model.centre)
    symbols[3, dims // 2] = ESCAPE
    symbols[4, 0] = LIMIT - 1
    np.testing.assert_array_equal(row_model.read(model, 600, Reader(coded(model, symbols))), symbols)


def test_rows_that_predict_each_other_are_found_and_cost_what_the_model_says():
    numbers = related(3000, 40)
    model = row_model.fit(numbers, held(3000))
    chain = model.chain
    assert chain is not None
    assert not np.tril(chain.weights).any()
    next_ones = np.diag(chain.weights, 1) * np.exp2(chain.gain[:-1].astype(float) - chain.shift[1:])
    np.testing.assert_allclose(next_ones[3:], 0.9, atol=0.12)  # a little less: the ridge
    fresh = row_model.relative(related(2000, 40, seed=1), model.centre)
    size = len(coded(model, fresh)) * 8
    expected = row_model.expected_bits(model, fresh) + fresh.size * np.log2(np.sqrt(2 * np.pi))
    assert size == pytest.approx(expected, rel=0.01)
    plain = RowModel(model.centre, fresh.std(axis=0).astype(np.float32), None)
    assert size < 0.93 * len(coded(plain, fresh)) * 8


@pytest.mark.parametrize("left", [60, 5])
def test_a_dimension_is_predicted_from_all_before_it(left):
    """The second forty are the first forty and a little: h(100) + h(left) bits a pair, not h(100) and more twice."""
    numbers = np.random.default_rng(0).normal(0, 100, (1500, 80)).round().astype(np.int64)
    numbers[:, 40:] = numbers[:, :40] + np.random.default_rng(1).normal(0, left, (1500, 40)).round().astype(np.int64)
    model = row_model.fit(numbers, held(1500))
    size = len(coded(model, row_model.relative(numbers, model.centre))) * 8 / 1500 / 40
    assert size < np.log2(100 * left * 2 * np.pi * np.e) + (0.1 if left == 60 else 1.5)


def test_the_rows_length_is_followed():
    rng = np.random.default_rng(0)
    lengths = rng.choice([60.0, 300.0], (2000, 1))
    symbols = np.rint(rng.normal(0, 1, (2000, 200)) * lengths).astype(np.int64)
    model = RowModel(np.zeros(200, np.float32), symbols.std(axis=0).astype(np.float32), None)
    ideal = np.mean(np.log2(lengths * np.sqrt(2 * np.pi * np.e)))
    assert len(coded(model, symbols)) * 8 / symbols.size == pytest.approx(ideal, rel=0.02)
    assert np.log2(symbols.std() * np.sqrt(2 * np.pi * np.e)) > 1.06 * ideal  # without it


def test_weights_that_do_not_pay_are_left_out():
    assert row_model.fit(np.random.default_rng(0).normal(0, 50, (500, 30)).astype(np.int64), held(500)).chain is None


def test_weights_come_back_from_fewer_bytes():
    weights = np.triu(np.random.default_rng(0).normal(0, 3, (90, 90)).round(), 1).astype(np.int8)
    weights[0, 1], weights[0, 2] = 127, -127
    exponents = np.arange(90, dtype=np.int8)
    arrays = row_model.packed(Chain(weights, exponents, exponents[::-1]))
    assert len(arrays["weights"]) < 90 * 89 / 2 * 0.55
    again = row_model.unpacked(arrays | {"other": exponents})
    np.testing.assert_array_equal(again.weights, weights)
    np.testing.assert_array_equal(again.gain, exponents)
    np.testing.assert_array_equal(again.shift, exponents[::-1])
    assert row_model.unpacked(row_model.packed(None)) is None


def test_far_and_missing_bins_are_escapes():
    centre = np.array([100], np.float32)
    numbers = np.array([[100], [99], [100 + LIMIT], [100 - LIMIT], [NO_BIN]])
    symbols = row_model.relative(numbers, centre)
    assert symbols[:, 0].tolist() == [0, -1, ESCAPE, ESCAPE, ESCAPE]
    assert row_model.absolute(symbols[:2], centre)[:, 0].tolist() == [100, 99]
    assert row_model.relative(np.array([[NO_BIN]]), np.array([float(NO_BIN)], np.float32))[0, 0] == ESCAPE
