from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stage import UserError
from pipeline.training.sampler import Batches, positions, windows


class Numbered:
    """Samples are their own numbers; `read_pieces` is what was read."""

    def __init__(self, sizes):
        self.sizes, self.identity, self.read_pieces = sizes, "", []
        self.ends = np.cumsum(sizes)

    def read(self, piece):
        self.read_pieces.append(piece)
        return np.arange(self.ends[piece] - self.sizes[piece], self.ends[piece])


sizes = st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(lambda found: sum(found) >= 12)
WHOLE = np.arange(12)


def epoch(found, number=0, first=0, mine=WHOLE, window=25, seed=3):
    return [rows.tolist() for rows in Batches(Numbered(found), 12, window, seed).epoch(number, first, mine)]


@given(sizes, st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 4, 6]))
def test_any_number_of_processes_sees_the_same_batches(found, parts, count):
    if 12 % (parts * count):
        return
    mine = [positions(12, parts, rank, count) for rank in range(count)]
    shares = [epoch(found, mine=one.ravel()) for one in mine]
    for number, whole in enumerate(epoch(found)):
        # A part of the batch is the rows of the processes, one behind the other.
        put_together = np.concatenate([np.reshape(share[number], (parts, -1)) for share in shares], axis=1)
        assert put_together.ravel().tolist() == whole


@given(sizes, st.integers(1, 60))
def test_an_epoch_has_each_sample_at_most_once_and_leaves_less_than_a_batch(found, window):
    drawn = np.concatenate(epoch(found, window=window))
    assert len(set(drawn.tolist())) == len(drawn) == sum(found) // 12 * 12


@given(sizes, st.integers(0, 20), st.integers(1, 60))
def test_it_goes_on_at_any_batch(found, first, window):
    assert epoch(found, 2, first, window=window) == epoch(found, 2, window=window)[first:]


def test_what_lies_before_the_first_batch_is_not_read():
    source = Numbered([12] * 10)
    next(Batches(source, 12, 12, 0).epoch(0, 7, WHOLE))
    assert source.read_pieces == [windows(source.sizes, 12, 0, 0)[7][0]]


@given(sizes, st.integers(1, 60))
def test_a_window_holds_so_many_samples_or_one_piece(found, window):
    groups = windows(found, window, 1, 1)
    assert sorted(piece for group in groups for piece in group) == list(range(len(found)))
    for group in groups:
        assert len(group) == 1 or sum(found[piece] for piece in group) <= window
    for group, following in pairwise(groups):
        assert sum(found[piece] for piece in group) + found[following[0]] > window


def test_order_is_random_and_another_in_each_epoch_and_for_each_seed():
    orders = [np.concatenate(epoch([40, 40, 40], number, seed=seed, window=80)) for number in (0, 1) for seed in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    # Samples of a window of two pieces are mixed, and steps between neighbours are not those of a sorted order.
    assert all(np.mean(np.abs(np.diff(order)) == 1) < 0.1 for order in orders)
    assert all(len({number // 40 for number in order[:24]}) == 2 for order in orders)


def test_pieces_come_in_another_order_in_each_epoch():
    firsts = {tuple(piece for group in windows([1] * 6, 1, 0, number) for piece in group) for number in range(5)}
    assert len(firsts) == 5


def test_data_that_fit_into_a_window_are_read_once():
    source = Numbered([10, 10, 10, 10])
    batches = Batches(source, 12, 40, 0)
    for number in range(3):
        assert len(list(batches.epoch(number, 0, WHOLE))) == 3
    assert source.read_pieces == [0, 1, 2, 3]


def test_fewer_samples_than_a_batch_are_refused():
    with pytest.raises(UserError, match="11 samples to train on are fewer than a batch of 12"):
        Batches(Numbered([5, 6]), 12, 100, 0)


def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(UserError, match="batch of 10 cannot be divided among 2 processes in 2 accumulated parts"):
        positions(10, 2, 0, 2)
    with pytest.raises(UserError, match=r"batch of 10 cannot be divided among 3 processes$"):
        positions(10, 1, 0, 3)
