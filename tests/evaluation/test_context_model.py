import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.context_model import STRETCH, decode, encode
from pipeline.evaluation.word_tree import Tree, bisect
from pipeline.stage import UserError


def even_tree(depth):
    """A complete tree of 2^depth words, word numbers from left to right, inner nodes in preorder."""
    left, right = [], []

    def build(first, level):
        if level == 0:
            return ~first
        node = len(left)
        left.append(0), right.append(0)
        left[node] = build(first, level - 1)
        right[node] = build(first + (1 << level - 1), level - 1)
        return node

    build(0, depth)
    return Tree(np.array(left, np.int32), np.array(right, np.int32))


def some_tree(words):
    rng = np.random.default_rng(words)
    return bisect(rng.normal(size=(words, 4)), rng.integers(0, 9, words))


def bits_a_word(ids, tree):
    encoded = encode(np.asarray(ids, np.int32), tree)
    assert (decode(encoded.data, tree) == ids).all()
    return 8 * len(encoded.data) / len(ids)


@settings(max_examples=60)
@given(st.integers(1, 50).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n - 1), max_size=300))))
def test_there_and_back(case):
    words, ids = case
    tree = some_tree(words)
    encoded = encode(np.array(ids, np.int32), tree)
    assert decode(encoded.data, tree).tolist() == ids
    assert len(encoded.ends) == len(ids)


def test_there_and_back_where_contexts_share_slots():
    # 60,000 words in new contexts all the time: more contexts than the hash table has slots.
    ids = np.random.default_rng(0).zipf(1.2, 60_000) % 5000
    assert bits_a_word(ids, some_tree(5000)) < 13


def test_independent_words_cost_about_their_entropy():
    share = np.array([0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.03, 0.02])
    ids = np.random.default_rng(1).choice(8, 40_000, p=share)
    entropy = -(share * np.log2(share)).sum()
    assert entropy * 0.99 < bits_a_word(ids, even_tree(3)) < entropy * 1.06


def test_what_follows_from_the_word_before_costs_next_to_nothing():
    follows = np.random.default_rng(2).permutation(64)
    ids, jumps = [0], np.random.default_rng(3).random(20_000) < 0.02
    for jump in jumps:
        ids.append((ids[-1] + 1) % 64 if jump else follows[ids[-1]])
    assert bits_a_word(ids, even_tree(6)) < 0.6  # order 0: 6 bits


def test_what_follows_from_the_two_words_before_costs_next_to_nothing():
    follows = np.random.default_rng(4).integers(0, 32, (32, 32))
    ids, draws = [0, 0], np.random.default_rng(5)
    for _ in range(60_000):  # a twentieth at random, else the walk would end in a short circle
        ids.append(int(draws.integers(32)) if draws.random() < 0.05 else int(follows[ids[-2], ids[-1]]))
    counts = np.zeros((32, 32))
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    share = counts / counts.sum()
    after_one = -(share * np.log2(np.maximum(share / np.maximum(share.sum(1, keepdims=True), 1e-9), 1e-9))).sum()
    assert after_one > 2.5
    assert bits_a_word(ids, even_tree(5)) < 1.2  # with the twentieth known: 0.52


def test_a_topic_is_followed():
    rng = np.random.default_rng(6)
    ids = np.concatenate([rng.choice(rng.permutation(256)[:16], 200) for _ in range(100)])  # 16 words of 256 at a time
    assert bits_a_word(ids, even_tree(8)) < 6.6  # static order 0: 8 bits


def test_a_word_without_end_neither_overflows_nor_costs():
    assert bits_a_word(np.full(200_000, 5), even_tree(3)) < 0.002
    assert STRETCH[4096] == STRETCH[4095] == -STRETCH[0]  # of a probability that has become 1


def test_the_ends_of_parts_are_those_of_the_stream():
    ids = np.random.default_rng(7).integers(0, 16, 3000)
    encoded = encode(ids, even_tree(4))
    assert encoded.ends[-1] == len(encoded.data)
    assert (np.diff(encoded.ends) >= 0).all()
    # A decoder that has only the part's bytes, closed by what closes a stream, reads the part's words.
    body = encoded.data[8 : encoded.ends[999] + 8]
    assert decode(encoded.data[:8] + body + encoded.data[8 + len(body) :], even_tree(4))[:1000].tolist() == (
        ids[:1000].tolist()
    )


def test_a_single_word_needs_no_bits():
    encoded = encode(np.zeros(1000, np.int32), some_tree(1))
    assert len(encoded.data) == 12  # the count and the end
    assert decode(encoded.data, some_tree(1)).tolist() == [0] * 1000


def test_the_stream_stays_the_same():
    ids = (np.arange(5000) ** 2 // 7 + np.arange(5000) % 13) % 64
    assert hashlib.sha256(encode(ids, even_tree(6)).data).hexdigest()[:16] == "6aaa460c148ef25e"


def test_bad_input_is_refused():
    ids = np.random.default_rng(8).integers(0, 16, 500)
    data = encode(ids, even_tree(4)).data
    for cut in (b"", data[:11], data[:-9], data + b"\0"):
        with pytest.raises(UserError, match="cut short"):
            decode(cut, even_tree(4))
    for wrong in ([16], [-1, 3]):
        with pytest.raises(UserError, match="a tree of 16 words"):
            encode(np.array(wrong), even_tree(4))
