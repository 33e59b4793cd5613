"""A binary tree of a table's words: near vectors near each other, each branching into halves that occur equally often.

Problem: a binary model of words has to turn each into yes-or-no decisions. Decisions that part kinds of words (names
from verbs) can be learnt from few examples, those of a code without meaning cannot. Method: bisect the words, over and
over, along the direction of largest variance of their vectors (weighted by how often they occur; a power iteration
finds it), where both sides occur equally often, so that the depth of a word is about its -log2 p (F. Morin and
Y. Bengio, "Hierarchical Probabilistic Neural Network Language Model", 2005; A. Mnih and G. Hinton, "A Scalable
Hierarchical Distributed Language Model", 2008).

Whoever decodes is given the tree itself, `pack`ed, so nothing hangs on how the sums of its making were rounded.
"""

from typing import NamedTuple

import numpy as np

from pipeline.codec import Array
from pipeline.stage import UserError

DIRECTIONS = 64  # principal components that the bisection looks at
ITERATIONS = 6  # of the power method: the direction need not be exact


class Tree(NamedTuple):
    """Inner nodes in preorder, the root first: `left` and `right` int32 [words - 1] are an inner node's number, or ~w
    for the leaf of word w. A single word is a leaf and has no inner node."""

    left: Array
    right: Array

    @property
    def words(self) -> int:
        return len(self.left) + 1


def bisect(vectors: Array, counts: Array) -> Tree:
    """The tree of rows `vectors` float [n, d] that occur `counts` [n] times."""
    weights = counts + 1.0  # a word that does not occur needs a place as well
    points = _principal(vectors, weights)
    left, right = (np.zeros(len(points) - 1, np.int32) for _ in range(2))
    waiting: list[tuple[Array, int, Array]] = [(np.arange(len(points)), -1, left)]
    node = 0
    while waiting:
        rows, parent, side = waiting.pop()
        if parent >= 0:
            side[parent] = node if len(rows) > 1 else ~rows[0]
        if len(rows) == 1:
            continue
        first, second = _halves(rows, points, weights)
        waiting += [(second, node, right), (first, node, left)]
        node += 1
    return Tree(left, right)


def _principal(vectors: Array, weights: Array) -> Array:
    """The leading principal components of weighted rows, float64 [n, min(d, DIRECTIONS)]."""
    centred = vectors - np.average(vectors, axis=0, weights=weights)
    scaled = centred * np.sqrt(weights / weights.sum())[:, None]
    return centred @ np.linalg.eigh(scaled.T @ scaled)[1][:, : -DIRECTIONS - 1 : -1]


def _halves(rows: Array, points: Array, weights: Array) -> tuple[Array, Array]:
    """The rows on both sides of the cut, neither empty."""
    weight = weights[rows]
    centred = points[rows] - np.average(points[rows], axis=0, weights=weight)
    scaled = centred * np.sqrt(weight)[:, None]
    direction = np.ones(points.shape[1])
    for _ in range(ITERATIONS):
        direction = (scaled @ direction) @ scaled
        direction /= max(float(np.linalg.norm(direction)), 1e-300)
    order = np.argsort(-(centred @ direction), kind="stable")
    below = np.cumsum(weight[order])
    cut = int(np.argmin(np.abs(below[:-1] - below[-1] / 2))) + 1
    return rows[order[:cut]], rows[order[cut:]]


def paths(tree: Tree) -> tuple[Array, Array]:
    """The way to each word: `turns` uint8 [words, deepest], 1 for right, and how many of them count, int32 [words]."""
    found: list[tuple[int, list[int]]] = []
    waiting: list[tuple[int, list[int]]] = [(0 if len(tree.left) else ~0, [])]
    while waiting:
        node, turns = waiting.pop()
        if node < 0:
            found.append((~node, turns))
        else:
            waiting += [(int(tree.right[node]), [*turns, 1]), (int(tree.left[node]), [*turns, 0])]
    depths = np.zeros(tree.words, np.int32)
    table = np.zeros((tree.words, max(len(turns) for _, turns in found)), np.uint8)
    for word, turns in found:
        depths[word] = len(turns)
        table[word, : len(turns)] = turns
    return table, depths


def pack(tree: Tree) -> bytes:
    """A bit a node in preorder (1 inner, 0 leaf), then the leaves' words from left to right in as few bits as tell them
    apart, in whole bytes."""
    shape: list[int] = []
    leaves: list[int] = []
    waiting = [0 if len(tree.left) else ~0]
    while waiting:
        node = waiting.pop()
        shape.append(int(node >= 0))
        if node < 0:
            leaves.append(~node)
        else:
            waiting += [int(tree.right[node]), int(tree.left[node])]
    return np.packbits(np.concatenate([np.array(shape, np.uint8), numbers_to_bits(np.array(leaves))])).tobytes()


def unpack(packed: bytes, words: int) -> Tree:
    """The tree of that many words. Raises UserError for bytes that `pack` did not make."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    shape, tail = bits[: 2 * words - 1], bits[2 * words - 1 :]
    width = (words - 1).bit_length()
    if len(tail) < words * width or shape.sum() != words - 1:
        raise UserError(f"a tree of {words} words in {len(packed)} bytes: cut short or altered")
    leaves = iter(bits_to_numbers(tail, words, width).tolist())
    left, right = (np.zeros(words - 1, np.int32) for _ in range(2))
    open_sides: list[tuple[Array, int]] = []
    inner = 0
    for is_inner in shape.tolist():
        value = inner if is_inner else ~next(leaves)
        if open_sides:
            side, parent = open_sides.pop()
            side[parent] = value
        if is_inner:
            open_sides += [(right, inner), (left, inner)]
            inner += 1
    return Tree(left, right)


def numbers_to_bits(numbers: Array) -> Array:
    """Each of the numbers 0 to n - 1, in whatever order, in ceil(log2 n) bits, the highest first: uint8 [n * bits]."""
    width = (len(numbers) - 1).bit_length()
    return ((numbers[:, None] >> np.arange(width)[::-1]) & 1).astype(np.uint8).ravel()


def bits_to_numbers(bits: Array, count: int, width: int) -> Array:
    """What `numbers_to_bits` took, int64 [count]."""
    return bits[: count * width].reshape(count, width).astype(np.int64) @ (1 << np.arange(width, dtype=np.int64)[::-1])
