import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.word_tree import Tree, bisect, bits_to_numbers, numbers_to_bits, pack, paths, unpack
from pipeline.stage import UserError


def some_tree(words, seed=0):
    rng = np.random.default_rng(seed)
    return bisect(rng.normal(size=(words, 5)).astype(np.float32), rng.integers(0, 50, words))


@given(st.integers(1, 70), st.integers(0, 5))
def test_packed_and_unpacked_it_is_the_same(words, seed):
    tree = some_tree(words, seed)
    packed = pack(tree)
    assert len(packed) == -(-(2 * words - 1 + words * (words - 1).bit_length()) // 8)
    again = unpack(packed, words)
    assert (again.left.tolist(), again.right.tolist()) == (tree.left.tolist(), tree.right.tolist())


@given(st.integers(1, 70))
def test_every_word_has_a_path_of_its_own_and_none_begins_another(words):
    turns, depths = paths(some_tree(words))
    ways = {tuple(row[:depth]) for row, depth in zip(turns.tolist(), depths, strict=True)}
    assert len(ways) == words
    assert sum(0.5 ** len(way) for way in ways) == 1  # Kraft, and complete


def test_paths_by_hand():
    tree = Tree(np.array([~1, ~0], np.int32), np.array([1, ~2], np.int32))  # 1 | (0 | 2)
    turns, depths = paths(tree)
    assert [row[:depth].tolist() for row, depth in zip(turns, depths, strict=True)] == [[1, 0], [0], [1, 1]]


def test_depths_follow_the_counts():
    rng = np.random.default_rng(1)
    counts = (1e5 / np.arange(1, 2001)).astype(int)
    depths = paths(bisect(rng.normal(size=(2000, 20)), counts))[1]
    share = counts / counts.sum()
    entropy = -(share * np.log2(share)).sum()
    assert entropy < (share * depths).sum() < entropy + 1


def test_kinds_of_words_part_at_the_root():
    rng = np.random.default_rng(2)
    kind = rng.permutation(np.repeat([0, 1], 100))
    x = rng.normal(size=(200, 10)) + 6 * kind[:, None] * np.eye(10)[3]
    same = (kind == paths(bisect(x, np.ones(200)))[0][:, 0]).mean()
    assert max(same, 1 - same) > 0.97


def test_equal_vectors_make_a_tree_as_well():
    assert paths(bisect(np.ones((50, 3)), np.zeros(50)))[1].max() <= 7


@given(st.permutations(range(37)))
def test_numbers_and_bits(order):
    numbers = np.array(order)
    assert bits_to_numbers(numbers_to_bits(numbers), 37, 6).tolist() == order


def test_a_damaged_tree_is_refused():
    packed = pack(some_tree(40))
    for damaged in (packed[:-1], b"", b"\xff" * len(packed)):
        with pytest.raises(UserError, match="a tree of 40 words"):
            unpack(damaged, 40)
