from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline import exhaustive
from pipeline.codec import build
from pipeline.spikes import search
from pipeline.spikes.search import Planes, ShiftAddSearch, SpikeSearch, reference
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError
from pipeline.store import unit_rows


def digits_of(q, steps):
    """Digits -1, 0, 1 [T, n, P] of integers, the highest first: those of |q|, with the sign of q."""
    return np.stack([np.sign(q) * (np.abs(q) >> place & 1) for place in range(steps - 1, -1, -1)])


@dataclass
class SignMagnitude(ShiftAddSearch):
    """Integers -(2^7 - 1) .. 2^7 - 1 as signed spikes: a small signed code, apart from the project's own."""

    signed: ClassVar[bool] = True
    centred: ClassVar[bool] = True

    @property
    def timesteps(self):
        return 7

    @property
    def highest(self):
        return 127

    def to_spikes(self, q):
        return SpikeTrain.from_dense(digits_of(q, 7).astype(np.float32), signed=True)

    def to_integers(self, train):
        return reference(train, np.eye(train.neurons, dtype=np.int64)).T.astype(np.int32)


@dataclass
class Unary(SpikeSearch):
    """A rate code of integers 0 .. 8, zero to one: q spikes in the first q steps."""

    timesteps: ClassVar[int] = 8
    neurons: ClassVar[int] = 6

    def encode(self, x):
        return self.codes(SpikeTrain.from_dense(np.stack([np.rint(8 * x) > step for step in range(8)]).astype(float)))

    def fit(self, x):
        return self

    def decode(self, codes):
        return self.spike_train(codes).counts().astype(np.float32) / 8


@st.composite
def cases(draw):
    """Steps, signed or not, integers q [n, P] and queries w [k, P]."""
    steps, signed = draw(st.integers(1, 16)), draw(st.booleans())
    count, neurons, queries = draw(st.integers(1, 5)), draw(st.integers(1, 140)), draw(st.integers(1, 3))
    low = -(2**steps) + 1 if signed else 0
    q = draw(hnp.arrays(np.int64, (count, neurons), elements=st.integers(low, 2**steps - 1)))
    bound = 2 ** draw(st.integers(0, 30))
    w = draw(hnp.arrays(np.int64, (queries, neurons), elements=st.integers(-bound, bound - 1)))
    return steps, signed, q, w


@given(cases())
def test_dot_products_from_spikes_are_those_of_the_integers(case):
    steps, signed, q, w = case
    train = SpikeTrain.from_dense(digits_of(q, steps).astype(np.float32), signed)
    found = Planes(train).dots(w)
    assert found.dtype == np.int64
    expected = [[sum(int(a) * int(b) for a, b in zip(row, asked, strict=True)) for row in q] for asked in w]
    assert found.tolist() == expected
    np.testing.assert_array_equal(reference(train, w), expected)


@pytest.mark.parametrize(("module", "name"), [("phase", "phase_8"), ("naf", "naf_8"), ("phase", "phase_16")])
def test_dot_products_of_the_codes_are_those_of_their_integers(module, name):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1300, 70)).astype(np.float32)
    codec = build(module, name, 0).fit(x)
    codes = codec.encode(x)
    w = rng.integers(-500, 500, (7, 70))
    planes = Planes(codec.spike_train(codes))
    expected = w @ codec.stored_integers(codes).T.astype(np.int64)
    np.testing.assert_array_equal(planes.dots(w), expected)
    np.testing.assert_array_equal(planes.dots(w, 600, 1200), expected[:, 600:1200])
    assert len(planes) == 1300


def test_sums_that_could_pass_64_bits_are_refused():
    planes = Planes(SpikeTrain(np.zeros((1, 30, 1), np.uint8), 8))
    with pytest.raises(UserError, match="may have 66 bits; 63 are exact"):
        planes.dots(np.full((1, 8), 2**30))
    assert planes.dots(np.full((1, 8), 2**20)).tolist() == [[0]]


@given(st.integers(2, 12), hnp.arrays(np.float32, (3, 5), elements=st.floats(-1, 1, width=32, allow_subnormal=False)))
def test_a_query_is_rounded_by_half_a_step_at_most(bits, queries):
    step = np.array([1, 0.5, 2, 0.25, 0], np.float32)
    w, g = search.integer_queries(queries, step, bits)
    assert np.abs(w).max() <= 2 ** (bits - 1) - 1
    assert np.all(np.abs(w * g - queries.astype(np.float64) * step) <= g / 2 * (1 + 1e-9))


def unit(count, seed, dims=40):
    rng = np.random.default_rng(seed)
    offset = np.where(np.arange(dims) == 3, 1.5, 0)  # a dimension far from zero, as word vectors have
    return unit_rows((rng.standard_normal((count, dims)) * np.linspace(0.2, 2, dims) + offset).astype(np.float32))


CODES = [build("phase", "phase_6", 0), build("naf", "naf_8", 0), SignMagnitude("sign_magnitude")]


@pytest.mark.parametrize("codec", CODES, ids=lambda codec: codec.name)
def test_shift_add_ranks_by_the_cosine_with_the_rounded_query(codec):
    x, queries = unit(900, 1), unit(25, 2)
    codes = codec.fit(x).encode(x)
    assert codec.searches == ("counts", "hamming", "shift_add")
    w, g = search.integer_queries(queries, codec.shared["step"])
    decoded = codec.decode(codes).astype(np.float64)
    # What the rounded query is as a vector: w g / step beside the step's zero point.
    q = codec.stored_integers(codes)
    scores = queries.astype(np.float64) @ codec.shared["zero"].astype(np.float64)
    scores = (scores[:, None] + g * (w @ q.T)) / np.linalg.norm(decoded, axis=1)
    found = codec.searcher("shift_add", codes)(queries, 10)
    np.testing.assert_allclose(np.take_along_axis(scores, found, 1), -np.sort(-scores, axis=1)[:, :10], atol=1e-6)
    cosines = queries @ unit_rows(codec.decode(codes)).T
    np.testing.assert_allclose(np.take_along_axis(cosines, found, 1), -np.sort(-cosines, axis=1)[:, :10], atol=0.01)
    exact = exhaustive.inner_product(unit_rows(codec.decode(codes)))(queries, 10)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact, strict=True)]) > 0.95


def test_rows_that_decode_to_zero_and_queries_of_zero_are_ranked_without_a_warning():
    codec = SignMagnitude("sign_magnitude").fit(unit(50, 1))
    x = unit(5, 2)
    x[2] = 0
    found = codec.searcher("shift_add", codec.encode(x))(np.stack([x[1], x[2]]), 7)
    assert found[0, 0] == 1
    assert sorted(found[0]) == sorted(found[1]) == [-1, -1, 0, 1, 2, 3, 4]


def test_more_rows_than_a_block_of_scores(monkeypatch):
    codec = build("phase", "phase_6", 0)
    x = unit(900, 1)
    codes = codec.fit(x).encode(x)
    whole = codec.searcher("shift_add", codes)(x[:9], 12)
    monkeypatch.setattr(search, "ROWS", 128)
    np.testing.assert_array_equal(codec.searcher("shift_add", codes)(x[:9], 12), whole)


@pytest.mark.parametrize("codec", CODES, ids=lambda codec: codec.name)
def test_hamming_counts_the_slots_that_differ(codec):
    x, queries = unit(300, 1), unit(20, 2)
    codes = codec.fit(x).encode(x)

    def dense(rows):
        spikes = codec.spike_train(codec.encode(rows)).to_dense().transpose(1, 0, 2).reshape(len(rows), -1)
        return np.concatenate([spikes != 0, spikes < 0], axis=1)

    distances = (dense(queries)[:, None] != dense(x)[None]).sum(axis=2)
    found = codec.searcher("hamming", codes)(queries, 10)
    assert (np.take_along_axis(distances, found, 1) == np.sort(distances, axis=1)[:, :10]).all()


@pytest.mark.parametrize("codec", CODES, ids=lambda codec: codec.name)
def test_counts_are_compared_by_their_euclidean_distance(codec):
    x, queries = unit(300, 1), unit(20, 2)
    codes = codec.fit(x).encode(x)
    of = [codec.spike_train(codec.encode(rows)).counts().astype(np.int64) for rows in (queries, x)]
    distances = np.square(of[0][:, None] - of[1][None]).sum(axis=2)
    found = codec.searcher("counts", codes)(queries, 10)
    assert (np.take_along_axis(distances, found, 1) == np.sort(distances, axis=1)[:, :10]).all()


def test_counts_of_a_rate_code_rank_as_its_values_do():
    codec = Unary("unary")
    x = np.random.default_rng(0).random((200, 6)).astype(np.float32)
    queries = codec.decode(codec.encode(np.random.default_rng(1).random((20, 6)).astype(np.float32)))
    assert codec.searches == ("counts", "hamming")
    found = codec.searcher("counts", codec.encode(x))(queries, 10)
    distances = np.square(queries[:, None] - codec.decode(codec.encode(x))[None]).sum(axis=2)
    assert (np.take_along_axis(distances, found, 1) == np.sort(distances, axis=1)[:, :10]).all()
