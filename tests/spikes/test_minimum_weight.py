from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.codec import shared_bytes
from pipeline.spikes.minimum_weight import build, lightest, ranked
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError


def rows(count, dims, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32)


def spikes_of_fit(codec, x):
    return codec.spike_train(codec.encode(x)).spikes


@pytest.mark.parametrize(("count", "slots"), [(1, 1), (2, 1), (4, 2), (5, 3), (16, 5), (256, 8), (256, 16), (999, 10)])
def test_the_lightest_words(count, slots):
    expected = sorted(range(2**slots), key=lambda word: (word.bit_count(), word))[:count]
    assert lightest(count, slots).tolist() == expected


def test_words_of_64_slots():
    found = lightest(3000, 64)
    assert found[[0, 1, 64, 65, 2080, 2081]].tolist() == [0, 1, 1 << 63, 3, (1 << 63) + (1 << 62), 7]


@pytest.mark.parametrize(("bits", "slots"), [(1, 1), (1, 3), (2, 2), (2, 3), (2, 4), (3, 3)])
@settings(max_examples=12)
@given(data=st.data())
def test_no_code_has_fewer_spikes(bits, slots, data):
    """Exhaustion: all ways to give the levels distinct words."""
    found = data.draw(st.lists(st.integers(0, 50), min_size=2**bits, max_size=2**bits))
    frequency = np.array(found)
    codes = np.array(list(permutations(range(2**slots), 2**bits)), np.uint64)
    best = (np.bitwise_count(codes).astype(np.int64) @ frequency).min()
    assert np.bitwise_count(lightest(2**bits, slots)[ranked(frequency)]).astype(np.int64) @ frequency == best


@pytest.mark.parametrize("name", ["minimum_weight_2_3", "minimum_weight_2_1x4", "minimum_weight_2_3x1"])
def test_a_fitted_code_has_the_fewest_spikes_on_its_fit_rows(name):
    x = rows(40, 5)
    codec = build(name, 0).fit(x)
    frequency = np.bincount(codec.integers(x).ravel(), minlength=4)
    slots = codec.timesteps * codec.neurons_per_value
    codes = np.array(list(permutations(range(2**slots), 4)), np.uint64)
    assert spikes_of_fit(codec, x) == (np.bitwise_count(codes).astype(np.int64) @ frequency).min()


def test_ranks_by_hand():
    assert ranked(np.array([0, 5, 9, 5, 0])).tolist() == [3, 1, 0, 2, 4]
    assert ranked(np.zeros(4, np.int64)).tolist() == [0, 1, 2, 3]
    assert ranked(np.array([0, 0, 0, 7])).tolist() == [3, 2, 1, 0]  # what was never seen: by its distance
    assert [ranked(np.ones(count)).dtype.name for count in (2, 256, 512)] == ["uint8", "uint8", "uint16"]


@pytest.mark.parametrize(
    "name",
    ["1_1", "3_3", "8_8", "8_16", "8_5x3", "8_16x1", "4_8x8", "11_13", "16_16"],
)
def test_all_integers_come_back(name):
    codec = build(f"minimum_weight_{name}", 0).fit(rows(30, 7))
    q = np.arange(codec.highest + 1, dtype=np.int32)[None]
    train = codec.to_spikes(q)
    assert (train.neurons, train.timesteps) == (q.size * codec.neurons_per_value, codec.timesteps)
    np.testing.assert_array_equal(codec.to_integers(train), q)
    assert len(np.unique(codec.codebook)) == q.size


def test_where_a_word_s_slots_lie():
    """Neuron after neuron, the first step's before the second's, the first highest."""
    codec = build("minimum_weight_4_3x2", 0).fit(rows(30, 2))
    q = np.array([[3, 14]], np.int32)
    dense = codec.to_spikes(q).to_dense().astype(int)[:, 0].reshape(2, 2, 3)  # step, value, neuron
    for value in range(2):
        word = int("".join(map(str, dense[:, value].ravel())), 2)
        assert word == codec.codebook[q[0, value]]


@given(seed=st.integers(0, 99), dims=st.integers(1, 20), bits=st.integers(1, 9), spare=st.integers(0, 4))
def test_round_trip_of_any_rows(seed, dims, bits, spare):
    x = rows(20, dims, seed)
    codec = build(f"minimum_weight_{bits}_{bits + spare}", 0).fit(x)
    unseen = 2 * rows(7, dims, seed + 100)
    codes = codec.encode(unseen)
    np.testing.assert_array_equal(codec.stored_integers(codes), codec.integers(unseen))


def test_blocks_do_not_show():
    x = rows(1200, 3)
    codec = build("minimum_weight_8_16", 0).fit(x)
    assert spikes_of_fit(codec, x) == np.bitwise_count(codec.codebook[codec.integers(x)]).sum()
    one_by_one = [codec.encode(x[row : row + 1])["spikes"][0] for row in (0, 511, 512, 1199)]
    np.testing.assert_array_equal(codec.encode(x)["spikes"][[0, 511, 512, 1199]], one_by_one)
    np.testing.assert_array_equal(codec.stored_integers(codec.encode(x)), codec.integers(x))


def test_the_codebook_counts():
    x = rows(50, 6)
    assert shared_bytes(build("minimum_weight_8_16", 0).fit(x)) == 2 * 4 * 6 + 256
    assert shared_bytes(build("minimum_weight_9_16", 0).fit(x)) == 2 * 4 * 6 + 2 * 512


def test_more_slots_have_fewer_spikes():
    x = rows(300, 8)
    found = [spikes_of_fit(build(f"minimum_weight_8_{slots}", 0).fit(x), x) for slots in (8, 16, 32)]
    assert found[0] > found[1] > found[2]


def test_spikes_that_are_no_word_are_refused():
    codec = build("minimum_weight_2_4", 0).fit(rows(30, 3))
    dense = np.zeros((4, 2, 3), np.float32)
    dense[:, 1, 2] = 1
    with pytest.raises(UserError, match="minimum_weight_2_4: the spikes of vector 1, value 2, are no code word"):
        codec.to_integers(SpikeTrain.from_dense(dense))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minimum_weight_8_7", r"7 slots cannot tell 2\^8 levels apart: at least 8 slots"),
        ("minimum_weight_8_2x3", r"6 slots cannot tell 2\^8 levels apart: at least 8 slots"),
        ("minimum_weight_2_1", r"1 slot cannot tell 2\^2 levels apart: at least 2 slots"),
        ("minimum_weight_17_20", "has no codec 'minimum_weight_17_20'; its names are"),
        ("minimum_weight_8_65", "1 to 16 bits, at most 64 slots"),
        ("minimum_weight_8_9x9", "1 to 16 bits, at most 64 slots"),
        ("minimum_weight_8", "has no codec"),
        ("minimum_weight_0_8", "has no codec"),
    ],
)
def test_impossible_names(name, message):
    with pytest.raises(UserError, match=message):
        build(name, 0)
