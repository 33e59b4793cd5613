"""Word numbers to bytes by an adaptive order-2 context model, and back, bit for bit.

Problem: a stream of words is to take as few bits as a model of at most the two words before can make it. Method:
context mixing (M. Mahoney, "Adaptive Weighing of Context Models for Lossless Data Compression", 2005). A word is the
turns of its path through a binary tree (`word_tree`). For each turn, eight contexts remember how often it went right at
this node after them; a logistic mixer weighs what they say, and an arithmetic coder spends -log2 of the mixed
probability:

    p = squash(mean over two weight sets of sum_k w_k stretch(p_k)),   stretch(p) = ln(p / (1 - p)),
    w_k += rate (turn - p_set) stretch(p_k),    p_k += (turn - p_k) / (n_k + 1.8),  n_k capped

The contexts are: nothing, at three speeds (the fast ones follow a text's topic: that gains more than the second word);
the word before; the two words before; the last but one; the classes of both, of the last (a class is the tree's node at
depth 8). Weights are held for each count n_k, and by how much is known of the words before, and by depth. The slots are
a hash table with check numbers; of two contexts that meet in a slot the later takes it.

Nothing is learnt beforehand: both sides start from nothing but the tree. Both run the same compiled loop, of additions,
multiplications and divisions that IEEE 754 fixes and of tables rounded to 2^-20, so a decoder elsewhere computes
the same.
"""

import struct
from typing import Any, NamedTuple

import numba
import numpy as np

from pipeline.codec import Array
from pipeline.evaluation.word_tree import Tree, paths
from pipeline.stage import UserError

HEADER = struct.Struct("<Q")  # how many words
CLASS_DEPTH = 8
LIMITS = np.array([250, 16, 4, 90, 250, 120, 60, 60], np.uint8)  # where n_k stops: how fast a context forgets
CONTEXTS = len(LIMITS)
LAST, LAST_TWO = 3, 4  # those by whose counts the first weight set is chosen
BUCKETS = 16  # of n_k
DEPTHS = 32  # of the second weight set; deeper turns share the last
LEAST_BITS, MOST_BITS = 12, 22  # logarithm of the slots of a context
RATE = 0.005
FIRST_WEIGHT = 0.2
PRIOR = 1.8
EXTREME = 12.0  # of a mixed stretch
STEPS = 64  # of the squash table, to one unit
TAIL = 4  # bytes that end the stream


def _rounded(values: Array) -> Array:
    """To multiples of 2^-20, so that no machine's logarithm matters."""
    return np.rint(values * 2.0**20) / 2.0**20


_CELLS = (np.arange(4096) + 0.5) / 4096
STRETCH = _rounded(np.log(_CELLS / (1 - _CELLS)))
STRETCH = np.append(STRETCH, STRETCH[-1])  # a probability may be rounded to 1
SQUASH = _rounded(1 / (1 + np.exp(-np.arange(-EXTREME * STEPS, EXTREME * STEPS + 2) / STEPS)))
BUCKET = np.minimum(np.where(np.arange(256) < 8, np.arange(256), 8 + (np.arange(256) - 8) // 16), 15).astype(np.uint8)


class Encoded(NamedTuple):
    """The stream, and `ends` int64 [words]: how many bytes it takes if it ends after each word."""

    data: bytes
    ends: Array


def encode(ids: Array, tree: Tree) -> Encoded:
    """Raises UserError if a number is none of the tree's words."""
    if len(ids) and not 0 <= ids.min() <= ids.max() < tree.words:
        raise UserError(f"word numbers {ids.min()} to {ids.max()} for a tree of {tree.words} words")
    words, data, ends = _run(ids.astype(np.int32), np.zeros(0, np.uint8), False, tree)
    return Encoded(HEADER.pack(len(words)) + data.tobytes(), ends + HEADER.size + TAIL)


def decode(data: bytes, tree: Tree) -> Array:
    """int32 [words]. Raises UserError for a stream that is cut short; altered bytes give other words."""
    if len(data) < HEADER.size + TAIL:
        raise UserError(f"a stream of {len(data)} bytes: cut short")
    (count,) = HEADER.unpack(data[: HEADER.size])
    coded = np.frombuffer(data, np.uint8)[HEADER.size :]
    words, _, ends = _run(np.zeros(count, np.int32), coded, True, tree)
    if count and ends[-1] + TAIL != len(coded):
        raise UserError(f"a stream of {len(data)} bytes: cut short or altered")
    return words


def _run(words: Array, coded: Array, decoding: bool, tree: Tree) -> tuple[Array, Array, Array]:
    turns, depths = paths(tree)
    bits = int(np.clip(np.ceil(np.log2(16 * max(len(words), 1))), LEAST_BITS, MOST_BITS))
    classes = np.append(_classes(tree), tree.words).astype(np.int64)  # the last: before the first word
    return _code(words, coded, decoding, turns, depths, tree.left, tree.right, classes, bits)


def _classes(tree: Tree) -> Array:
    """The number of each word's ancestor at CLASS_DEPTH, or of its parent above that: int64 [words]."""
    classes = np.zeros(tree.words, np.int64)
    waiting = [(0, 0, 0)] if len(tree.left) else []
    while waiting:
        node, depth, found = waiting.pop()
        for child in (int(tree.left[node]), int(tree.right[node])):
            at = child if depth < CLASS_DEPTH and child >= 0 else found
            if child < 0:
                classes[~child] = at
            else:
                waiting.append((child, depth + 1, at))
    return classes


@numba.njit(cache=True)
def _squash(x: float) -> float:
    at = (x + EXTREME) * STEPS
    cell = int(at)
    return SQUASH[cell] + (at - cell) * (SQUASH[cell + 1] - SQUASH[cell])


@numba.njit(cache=True)
def _code(
    words: Array,
    coded: Array,
    decoding: bool,
    turns: Array,
    depths: Array,
    left: Array,
    right: Array,
    classes: Array,
    bits: int,
) -> Any:
    """One pass of model and coder: (words, bytes, bytes out after each word); `words` is filled where `decoding`."""
    slots = 1 << bits
    mask = np.uint64(slots - 1)
    chance = np.full((CONTEXTS, slots), np.float32(0.5))
    count = np.zeros((CONTEXTS, slots), np.uint8)
    check = np.zeros((CONTEXTS, slots), np.uint16)
    by_words = np.full((16, CONTEXTS, BUCKETS), FIRST_WEIGHT)
    by_depth = np.full((DEPTHS, CONTEXTS, BUCKETS), FIRST_WEIGHT)
    seed = np.zeros(CONTEXTS, np.uint64)
    place = np.zeros(CONTEXTS, np.int64)
    bucket = np.zeros(CONTEXTS, np.int64)
    says = np.zeros(CONTEXTS)
    golden, odd, spread = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93), np.uint64(0xABCDEF123)
    last = before = np.int64(len(classes) - 1)

    out = np.zeros(max(64, 2 * len(words)), np.uint8)
    ends = np.zeros(len(words), np.int64)
    written = read = 0
    low, high = 0, 0xFFFFFFFF  # 32 bits each, in int64
    value: Any = 0
    if decoding:
        for _ in range(TAIL):
            value = value << 8 | (np.int64(coded[read]) if read < len(coded) else 0)
            read += 1

    for position in range(len(words)):
        a, b = np.uint64(last + 1), np.uint64(before + 1)
        class_a, class_b = np.uint64(classes[last] + 1), np.uint64(classes[before] + 1)
        seed[:] = np.uint64(0)
        seed[LAST] = a
        seed[LAST_TWO] = a * np.uint64(1000003) + b * odd
        seed[5] = b
        seed[6] = class_a * np.uint64(65537) + class_b * odd
        seed[7] = class_a
        for k in range(CONTEXTS):
            seed[k] = (seed[k] + np.uint64(k) * spread) * golden

        node = np.int64(0) if len(left) else np.int64(-1)
        depth = 0
        while node >= 0:
            # What each context says of this node.
            for k in range(CONTEXTS):
                key = seed[k] + np.uint64(node) * odd
                key ^= key >> np.uint64(32)
                key *= golden
                key ^= key >> np.uint64(29)
                at = np.int64(key & mask)
                mark = np.uint16(key >> np.uint64(48))
                if check[k, at] != mark:
                    check[k, at], count[k, at], chance[k, at] = mark, 0, 0.5
                place[k], bucket[k] = at, BUCKET[count[k, at]]
                says[k] = STRETCH[int(chance[k, at] * 4096)] if count[k, at] else 0.0

            # Mixed, by two sets of weights.
            first = by_words[min(bucket[LAST_TWO], 3) * 4 + min((bucket[LAST] + 3) // 4, 3)]
            second = by_depth[min(depth, DEPTHS - 1)]
            sum_first = sum_second = 0.0
            for k in range(CONTEXTS):
                sum_first += first[k, bucket[k]] * says[k]
                sum_second += second[k, bucket[k]] * says[k]
            sum_first = min(max(sum_first, -EXTREME), EXTREME)
            sum_second = min(max(sum_second, -EXTREME), EXTREME)
            mixed = _squash((sum_first + sum_second) / 2)
            odds = min(max(int(mixed * 65536), 1), 65535)

            # Coded: the lower part of the range is a turn to the right.
            span = high - low
            middle = low + (span >> 16) * odds + ((span & 0xFFFF) * odds >> 16)
            turn = value <= middle if decoding else turns[words[position], depth] == 1
            if turn:
                high = middle
            else:
                low = middle + 1
            while (low ^ high) & 0xFF000000 == 0:
                if not decoding:
                    if written + TAIL >= len(out):
                        longer = np.zeros(2 * len(out), np.uint8)
                        longer[:written] = out[:written]
                        out = longer
                    out[written] = high >> 24
                else:
                    value = (value << 8 & 0xFFFFFFFF) | (np.int64(coded[read]) if read < len(coded) else 0)
                    read += 1
                written += 1
                low = low << 8 & 0xFFFFFFFF
                high = (high << 8 & 0xFFFFFFFF) | 0xFF

            # Learnt.
            went = 1.0 if turn else 0.0
            step_first = RATE * (went - _squash(sum_first))
            step_second = RATE * (went - _squash(sum_second))
            for k in range(CONTEXTS):
                first[k, bucket[k]] += step_first * says[k]
                second[k, bucket[k]] += step_second * says[k]
                known = count[k, place[k]]
                old = np.float64(chance[k, place[k]])
                chance[k, place[k]] = np.float32(old + (went - old) / (known + PRIOR))
                if known < LIMITS[k]:
                    count[k, place[k]] = known + 1
            node = np.int64(right[node]) if turn else np.int64(left[node])
            depth += 1

        if decoding:
            words[position] = ~node
        ends[position] = written
        before, last = last, np.int64(words[position])

    if not decoding:
        for shift in (24, 16, 8, 0):  # any value in the range will do: its lower end
            out[written] = low >> shift & 0xFF
            written += 1
    return words, out[:written], ends
