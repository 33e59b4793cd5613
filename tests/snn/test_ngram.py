"""The n-gram model against the equations written out for one context after another, and its sums."""

from collections import defaultdict

import numpy as np
import pytest

from pipeline.snn import ngram
from pipeline.stage import UserError

V = 7


@pytest.fixture(scope="module")
def documents() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    chain = rng.dirichlet(np.full(V - 1, 0.3), size=V)

    def one(length: int) -> np.ndarray:
        tokens = [1]
        for _ in range(length):
            tokens.append(1 + int(rng.choice(V - 1, p=chain[tokens[-1]])))
        return np.array([*tokens, 0], np.int32)

    return [one(length) for length in (60, 1, 90, 35)]


def slow(documents: list[np.ndarray], order: int, context: list[int], token: int) -> float:
    """p(token | context) by dicts of tuples, as the paper writes it."""
    raw: dict[tuple, int] = defaultdict(int)
    for document in documents:
        padded = [0, *document.tolist()]
        for end in range(2, len(padded) + 1):
            for k in range(1, min(order, end) + 1):
                raw[tuple(padded[end - k : end])] += 1
    before: dict[tuple, set] = defaultdict(set)
    for gram in raw:
        if len(gram) > 1:
            before[gram[1:]].add(gram[0])
    count = {g: (c if len(g) == order or not before[g] else len(before[g])) for g, c in raw.items()}

    def discount(k: int, c: int) -> float:
        n = [sum(1 for g, value in count.items() if len(g) == k and value == i) for i in range(5)]
        y = n[1] / (n[1] + 2 * n[2]) if n[1] and n[2] else 0.5
        if not all(n[1:]):
            return y
        c = min(c, 3)
        return min(max(c - (c + 1) * y * n[c + 1] / n[c], 0), c)

    def p(history: tuple, w: int) -> float:
        k = len(history) + 1
        lower = p(history[1:], w) if history else 1 / V
        follow = {g[-1]: c for g, c in count.items() if len(g) == k and g[:-1] == history}
        if not follow:
            return lower
        total = sum(follow.values())
        kept = {v: max(0, c - discount(k, c)) for v, c in follow.items()}
        return kept.get(w, 0) / total + (total - sum(kept.values())) / total * lower

    return p(tuple(context[len(context) - order + 1 :] if len(context) >= order else context), token)


@pytest.mark.parametrize("order", [1, 3, 4])
def test_equals_the_equations(documents: list[np.ndarray], order: int) -> None:
    held_out = np.array([2, 1, 1, 3, 5, 4, 6, 2, 2, 0], np.int32)
    model = ngram.fit(documents, V, order)
    found = model.log2(held_out)
    padded = [0, *held_out.tolist()]
    for i, token in enumerate(held_out):
        assert 2 ** found[i] == pytest.approx(slow(documents, order, padded[: i + 1], int(token)), rel=1e-9)


def test_probabilities_sum_to_one_and_are_those_of_the_document(documents: list[np.ndarray]) -> None:
    model = ngram.fit(documents, V, 5)
    rng = np.random.default_rng(1)
    for length in range(8):
        for _ in range(20):
            assert model.distribution(rng.integers(0, V, length)).sum() == pytest.approx(1, abs=1e-12)
    padded = [0, *documents[0].tolist()]
    each = [model.distribution(padded[: i + 1])[token] for i, token in enumerate(documents[0])]
    np.testing.assert_allclose(2 ** model.log2(documents[0]), each, rtol=1e-12)


def test_context_ends_with_the_document(documents: list[np.ndarray]) -> None:
    """The order of the documents makes no difference."""
    forwards, backwards = ngram.fit(documents, V, 4), ngram.fit(documents[::-1], V, 4)
    np.testing.assert_array_equal(forwards.log2(documents[2]), backwards.log2(documents[2]))


def test_unigrams_give_unseen_tokens_one(documents: list[np.ndarray]) -> None:
    found = ngram.unigram_log2([np.array([0, 0, 1])], np.array([0, 2]), 3)
    np.testing.assert_allclose(found, np.log2([2 / 4, 1 / 4]))


def test_weight_is_the_likeliest() -> None:
    rng = np.random.default_rng(2)
    a, b = np.log2(rng.uniform(0.01, 1, (2, 500)))
    weight = ngram.best_weight(a, b)
    near = [ngram.mixed(a, b, w).sum() for w in (weight - 0.02, weight, weight + 0.02)]
    assert near[1] == max(near)
    np.testing.assert_allclose(2 ** ngram.mixed(a, b, 0.25), 0.25 * 2**a + 0.75 * 2**b)


def test_refuses_tokens_outside_the_vocabulary(documents: list[np.ndarray]) -> None:
    with pytest.raises(UserError, match=f"token {V} is outside the vocabulary of {V}"):
        ngram.fit(documents, V, 2).log2(np.array([V]))
    with pytest.raises(UserError, match="token -1"):
        ngram.fit([np.array([1, -1])], V, 2)
