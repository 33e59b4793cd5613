import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.stage import UserError
from pipeline.store import unit_rows
from pipeline.training import skipgram
from pipeline.training.skipgram import How, SkipGram, corpus


def test_pairs_are_those_within_the_windows_of_words_that_are_there():
    """Against the plain loops: leave words out, then lay windows, none over the end of a sentence."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 6, (7, 30))  # 5: the end of a sentence
    kept, radius = (rng.random((7, 30)) < 0.7) & (tokens != 5), rng.integers(1, 4, (7, 30))
    expected = np.zeros((7, 30, 30), bool)
    for block in range(7):
        sentences = np.split(np.arange(30), np.flatnonzero(tokens[block] == 5))
        for sentence in sentences:
            there = [i for i in sentence if kept[block, i]]
            for a, i in enumerate(there):
                for b, j in enumerate(there):
                    expected[block, i, j] = a != b and abs(a - b) <= radius[block, i]
    found = skipgram.pairs(*(torch.from_numpy(one) for one in (tokens, kept, radius)), 5)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_kept_shares_and_noise_are_word2vecs():
    counts = np.array([9000.0, 900, 100])
    drawn = corpus(counts, 1e-2)
    share = counts / 10_000
    keep = [min(1, (math.sqrt(f / 1e-2) + 1) * 1e-2 / f) for f in share]  # the form of the C program
    np.testing.assert_allclose(drawn.kept, [*keep, 0], rtol=1e-6)
    np.testing.assert_allclose(np.diff(drawn.noise, prepend=0), counts**0.75 / (counts**0.75).sum(), rtol=1e-12)


def test_the_loss_is_that_of_skip_gram_with_negative_sampling():
    """Every word kept, so that the pairs are known but for the radius; every word a negative in its share."""
    torch.manual_seed(0)
    model = SkipGram(4, 3).double()
    torch.nn.init.normal_(model.u)
    torch.nn.init.normal_(model.v)
    tokens = torch.tensor([[0, 1, 2, 4, 3, 0]])
    drawn = corpus(np.array([4.0, 3, 2, 1]), 1e9)
    how = How(dims=3, window=1, negative=5, sample=1e-3, length=64, shared=200_000)
    with torch.no_grad():
        found = skipgram.parts(model, tokens, drawn, how, torch.Generator().manual_seed(0), 1, slice(None))
    u, v = model.u.detach().numpy(), model.v.detach().numpy()
    pairs = [(0, 1), (1, 0), (1, 2), (2, 1), (3, 0), (0, 3)]
    noise = np.array([4.0, 3, 2, 1]) ** 0.75
    positive = sum(np.log1p(np.exp(-u[a] @ v[b])) for a, b in pairs)
    negative = sum(5 * noise @ np.log1p(np.exp(v @ u[a])) / noise.sum() for a, _ in pairs)
    assert found["positive"].item() == pytest.approx(positive / 6, rel=1e-12)
    assert found["negative"].item() == pytest.approx(negative / 6, rel=0.01)


def test_halves_of_a_batch_draw_what_the_whole_draws():
    torch.manual_seed(1)
    model, drawn = SkipGram(50, 4), corpus(np.arange(50, 0, -1.0), 1e-2)
    torch.nn.init.normal_(model.v)
    tokens = torch.randint(0, 51, (6, 20))

    def total(mine):
        generator = torch.Generator().manual_seed(5)
        found = skipgram.parts(
            model, tokens[mine], drawn, How(dims=4, window=5, negative=5, sample=1e-3, length=64), generator, 6, mine
        )
        return torch.stack(list(found.values()))

    with torch.no_grad():
        torch.testing.assert_close((total(slice(0, 3)) + total(slice(3, 6))) / 2, total(slice(0, 6)))


def test_monitors_leave_out_unknown_words_and_the_question_itself():
    words = {word: row for row, word in enumerate(["king", "man", "woman", "queen", "tree"])}
    unit = unit_rows(np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 1], [-1, -1, 0]], np.float32))
    questions = {
        "kind": ["semantic"] * 2,
        "a": ["man", "man"],
        "b": ["king", "x"],
        "c": ["woman", "woman"],
        "d": ["queen", "queen"],
    }
    assert skipgram.analogy(words, pa.table(questions))(unit) == 1
    assert skipgram.analogy(words, pa.table({**questions, "d": ["tree", "x"]}))(unit) == 0
    table = {"word1": ["king", "king", "king", "x"], "word2": ["man", "woman", "tree", "man"], "score": [9, 5, 1, 0]}
    assert skipgram.similarity(words, pa.table(table))(unit) == pytest.approx(1)
    unknown = pa.table({"kind": ["semantic"], **{key: ["x"] for key in ("word1", "word2", *"abcd")}, "score": [1]})
    assert math.isnan(skipgram.similarity(words, unknown)(unit))
    assert math.isnan(skipgram.analogy(words, unknown)(unit))


def test_too_few_inputs_and_unknown_options():
    with pytest.raises(UserError, match="counts, training and validation shards, not 1 files"):
        skipgram.task(["counts.parquet"], {})
    with pytest.raises(UserError, match="unknown key 'dim'"):
        skipgram.task(["a", "b", "c"], {"dim": 3})
    with pytest.raises(UserError, match="key 'dims' is missing"):
        skipgram.task(["a", "b", "c"], {})
