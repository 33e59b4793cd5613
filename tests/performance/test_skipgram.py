from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from performance import skipgram
from pipeline.embeddings.skipgram import How
from pipeline.evaluation import statistics
from pipeline.store import unit_rows

WORDS = [f"w{row}" for row in range(12)]


@pytest.fixture(scope="module")
def sides():
    """Unit vectors of two programs, two seeds each."""
    x = np.random.default_rng(0).standard_normal((2, 2, 12, 4)).astype(np.float32)
    return [[unit_rows(seed) for seed in side] for side in x]


def pairs():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 14, (2, 60))  # 12 and 13 are words that nobody knows
    return pa.table({"word1": [f"w{i}" for i in a], "word2": [f"w{i}" for i in b], "score": rng.uniform(0, 10, 60)})


def questions():
    four = np.array([np.random.default_rng(n).choice(12, 4, replace=False) for n in range(80)])
    return pa.table({"kind": ["semantic"] * 80, **{k: [f"w{i}" for i in four[:, n]] for n, k in enumerate("abcd")}})


def test_intervals_of_one_seed_are_those_of_the_table(sides):
    """Against the weighted ranks and sums of pipeline/evaluation/statistics.py, on the same resamples."""
    rows = zip(*pairs().to_pydict().values(), strict=True)
    scores = np.array([score for *both, score in rows if set(both) <= set(WORDS)])
    references = (lambda values: statistics.spearman(values, scores)), statistics.mean
    for table, reference in zip((pairs(), questions()), references, strict=True):
        what = skipgram.reported(table, WORDS)
        left, right = (what.values(side[0]) for side in sides)
        found = skipgram.estimates(what, [left], [right])
        np.testing.assert_allclose(found[:2], [reference(left), reference(right)], atol=1e-5)


def test_differences_are_of_the_same_items_and_seeds_are_averaged(sides):
    what = skipgram.reported(questions(), WORDS)
    left, right = ([what.values(unit) for unit in side] for side in sides)
    found = skipgram.estimates(what, left, right)
    one = [skipgram.estimates(what, [a], [b]) for a, b in zip(left, right, strict=True)]
    np.testing.assert_allclose(found[:, 0], np.mean(one, axis=0)[:, 0])
    assert found[2, 0] == pytest.approx(found[0, 0] - found[1, 0])
    assert found[2, 1] < found[2, 0] < found[2, 2]
    assert skipgram.estimates(what, left, left)[2].tolist() == [0, 0, 0]


def test_the_least_held_out_loss_chooses(monkeypatch):
    task = SimpleNamespace(held_out=lambda model: {"loss": model})
    monkeypatch.setattr(skipgram, "make_task", lambda files, how: task)
    how, loss = skipgram.choose(
        lambda how: 2 + abs(how.learning_rate - 0.02) + abs(how.epochs - 10), How(seed=3), (0.01, 0.02), (5, 10, 20), []
    )
    assert (how, loss) == (How(seed=3, learning_rate=0.02, epochs=10), 2)


def test_the_peers_rows_are_in_the_order_of_the_words():
    """Animals keep company with animals: in u with v, so both have to be in order. Their numbers: as they are asked."""
    groups = (["cat", "dog", "cow", "hen"], ["iron", "gold", "zinc", "lead"])
    rng = np.random.default_rng(0)
    sentences = [list(rng.choice(groups[line % 2], 8)) for line in range(600)]
    how = How(dims=8, epochs=12, min_count=2, sample=1.0, learning_rate=0.05)
    with torch.no_grad():
        model = skipgram.peer(sentences, groups[0] + groups[1], how)
        scores = model.u @ model.v.T
    assert min(scores[:4, :4].min(), scores[4:, 4:].min()) > max(scores[:4, 4:].max(), scores[4:, :4].max())
