"""Interpolated modified Kneser-Ney: the n-gram baseline of a language model.

    model = fit(documents, vocabulary=4096, order=5)
    bits = -model.log2(document).mean()

With c the count of an n-gram (below the highest order: of the different tokens that stand before it), h its context, h'
the context without its first token, and D_1, D_2, D_3+ the discounts of its order,

    p(w | h) = max(0, c(h w) - D(c(h w))) / c(h .)  +  gamma(h) p(w | h')
    gamma(h) = (D_1 N_1(h .) + D_2 N_2(h .) + D_3+ N_3+(h .)) / c(h .)
    Y = n_1 / (n_1 + 2 n_2),   D_k = k - (k + 1) Y n_{k+1} / n_k

where N_k(h .) counts the tokens that follow h exactly k times, n_k the n-grams of the order with count k; below the
unigrams is the uniform distribution over the vocabulary, which is closed. An n-gram that begins with the start of a
document keeps its true count, since nothing stands before it.
(S. F. Chen and J. Goodman, "An empirical study of smoothing techniques for language modeling", Computer Speech and
Language 13, 1999.)

Where an order lacks the counts that D_k is made of (small texts), its discounts are all Y, or 1/2 where Y has none.

The n-grams of an order are one sorted array of int64: the number of the context among those of the order below, times
V, plus the last token. So the n-grams that end at all places of a text are found by one binary search for each order.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.stage import UserError

Array = np.ndarray
Logs = np.ndarray
"""log2 of probabilities, float64 [n]."""


class Order(NamedTuple):
    """The n-grams of one order.

    Attributes:
        keys: int64 [m] ascending, context * V + token; an n-gram's number is its place here.
        discounted: float64 [m], max(0, c - D(c)).
        total: float64 [contexts], c(h .) of each n-gram h of the order below; 0 where none follows.
        back_off: float64 [contexts], gamma(h).
    """

    keys: Array
    discounted: Array
    total: Array
    back_off: Array


class Model(NamedTuple):
    """`start` closes a document, and stands before the first token of the next."""

    orders: list[Order]
    vocabulary: int
    start: int

    def log2(self, document: Array) -> Logs:
        """log2 p of each token of a document, given those before it. Raises UserError for one outside it."""
        tokens = _checked(document, self.vocabulary)
        first = np.arange(len(tokens)) == 0
        chance = np.full(len(tokens), 1 / self.vocabulary)
        contexts = np.zeros(len(tokens), np.int64)
        for length, order in enumerate(self.orders, start=1):
            chance = _mixed(order, contexts, tokens, self.vocabulary, chance)
            numbers = _find(order.keys, contexts, tokens, self.vocabulary)
            contexts = _before(numbers, first, _start_number(self.orders[0].keys, self.start) if length == 1 else -1)
        return np.log2(chance)

    def distribution(self, context: Sequence[int]) -> Array:
        """p(. | context), float64 [V], of the last order - 1 tokens."""
        past = _checked(np.asarray(context, np.int64), self.vocabulary)
        everything = np.arange(self.vocabulary)
        chance = np.full(self.vocabulary, 1 / self.vocabulary)
        for length, order in enumerate(self.orders[: len(past) + 1]):
            number = np.zeros(1, np.int64)
            for shorter, token in zip(self.orders, past[len(past) - length :], strict=False):
                number = _find(shorter.keys, number, np.array([token]), self.vocabulary)
            chance = _mixed(order, np.repeat(number, self.vocabulary), everything, self.vocabulary, chance)
        return chance


def fit(documents: Sequence[Array], vocabulary: int, order: int = 5, start: int = 0) -> Model:
    """The model of documents, int [n] each. Raises UserError for a token outside the vocabulary, for no document."""
    if not documents:
        raise UserError("an n-gram model of no document")
    tokens = _checked(np.concatenate(documents), vocabulary)
    first = np.zeros(len(tokens), bool)
    first[np.cumsum([0, *map(len, documents[:-1])])] = True
    keys: list[Array] = []
    numbers: list[Array] = []  # of the n-gram of each order that ends at each token, -1 where the document is too short
    contexts = np.zeros(len(tokens), np.int64)
    for length in range(1, order + 1):
        # Counts are not wanted, but with them it sorts, ten times as fast as the hashing that it does without.
        keys.append(np.unique((contexts * vocabulary + tokens)[contexts >= 0], return_counts=True)[0])
        numbers.append(_find(keys[-1], contexts, tokens, vocabulary))
        contexts = _before(numbers[-1], first, _start_number(keys[0], start) if length == 1 else -1)
    sizes = [1, *map(len, keys)]
    orders = []
    for at, found in enumerate(keys):
        counts = np.bincount(numbers[at][numbers[at] >= 0], minlength=len(found))
        if at + 1 < order:
            longer, there = np.unique(numbers[at + 1], return_index=True)
            preceded = np.bincount(numbers[at][there[longer >= 0]], minlength=len(found))
            counts = np.where(preceded, preceded, counts)
        orders.append(_order(found, counts, sizes[at], vocabulary))
    return Model(orders, vocabulary, start)


def _order(keys: Array, counts: Array, contexts: int, vocabulary: int) -> Order:
    discounted = np.maximum(0.0, counts - discounts(counts)[np.minimum(counts, 3)])
    context = keys // vocabulary
    total = np.bincount(context, counts, contexts)
    kept = np.bincount(context, discounted, contexts)
    back_off = np.divide(total - kept, total, out=np.ones(contexts), where=total > 0)
    return Order(keys, discounted, total, back_off)


def discounts(counts: Array) -> Array:
    """0, D_1, D_2 and D_3+ of an order whose n-grams have these counts."""
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)
    y = n[1] / (n[1] + 2 * n[2]) if n[1] and n[2] else 0.5
    if not n[1:5].all():
        return np.array([0, y, y, y])
    k = np.arange(1, 4)
    return np.array([0, *np.clip(k - (k + 1) * y * n[2:5] / n[1:4], 0, k)])


def _checked(tokens: Array, vocabulary: int) -> Array:
    outside = tokens[(tokens < 0) | (tokens >= vocabulary)]
    if len(outside):
        raise UserError(f"token {outside[0]} is outside the vocabulary of {vocabulary}")
    return tokens.astype(np.int64)


def _start_number(unigrams: Array, start: int) -> int:
    """The number of the unigram `start`, -1 where the text has none."""
    at = int(np.searchsorted(unigrams, start))
    return at if at < len(unigrams) and unigrams[at] == start else -1


def _find(keys: Array, contexts: Array, tokens: Array, vocabulary: int) -> Array:
    """The number of each n-gram (context, token), -1 where there is none."""
    wanted = contexts * vocabulary + tokens
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((contexts >= 0) & (keys[at] == wanted), at, -1)


def _before(numbers: Array, first: Array, start: int) -> Array:
    """The numbers of the n-grams that end one token earlier; `start` before the first token of a document."""
    return np.where(first, start, np.concatenate([[-1], numbers[:-1]]))


def _mixed(order: Order, contexts: Array, tokens: Array, vocabulary: int, lower: Array) -> Array:
    """p(w | h) from `lower`, p(w | h'); it stays where nothing has followed h."""
    total = np.where(contexts >= 0, order.total[contexts], 0)
    numbers = _find(order.keys, contexts, tokens, vocabulary)
    kept = np.where(numbers >= 0, order.discounted[numbers], 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, kept / total + order.back_off[contexts] * lower, lower)


def unigram_log2(documents: Sequence[Array], held_out: Array, vocabulary: int) -> Logs:
    """log2 of each held-out token's share of the tokens of `documents`; tokens that these lack count as 1 each."""
    counts = np.maximum(np.bincount(np.concatenate(documents), minlength=vocabulary), 1)
    return np.log2(counts / counts.sum())[held_out]


def mixed(a: Logs, b: Logs, weight: float) -> Logs:
    """log2 of weight 2^a + (1 - weight) 2^b."""
    with np.errstate(divide="ignore"):
        return np.logaddexp2(a + np.log2(weight), b + np.log2(1 - weight))


def best_weight(a: Logs, b: Logs, rounds: int = 50) -> float:
    """The weight of a that makes `mixed` likeliest, by expectation maximisation; of validation tokens alone."""
    weight = 0.5
    for _ in range(rounds):
        weight = float(np.exp2(a + np.log2(weight) - mixed(a, b, weight)).mean()) if 0 < weight < 1 else weight
    return weight
