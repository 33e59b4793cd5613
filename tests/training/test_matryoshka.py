"""The nested embedder: begins as the closed form, passes bits straight through, and its losses are what they say."""

import numpy as np
import pytest
import torch
from subjects import embedder_start, vectors

from pipeline.training.matryoshka import Decoder, Embedder, How, held_out, loss, ternary
from pipeline.training.task import Context, alone

ROWS = 30


def context(rows=ROWS, seed=0):
    return Context(0, 10, alone, torch.Generator().manual_seed(seed), rows, slice(0, rows))


def embedder(**how):
    torch.manual_seed(0)
    return Embedder(embedder_start(), How(**{"hidden": 16, "encoder_rate": 0.1, **how})).double()


@pytest.fixture
def x():
    return torch.from_numpy(vectors(200, 24))[:ROWS].double()


def drawn_size(seed, sizes):
    return int(torch.randint(sizes, (), generator=torch.Generator().manual_seed(seed)))


def test_before_training_it_is_the_closed_form(x):
    model, start = embedder(), embedder_start()
    y = (x.numpy() - start.mean) @ start.forward
    for which in range(len(start.sizes)):
        cells = [np.searchsorted(cut, column, side="right") for cut, column in zip(start.cuts[which], y.T, strict=True)]
        v = np.stack([leaf[cell] for leaf, cell in zip(start.values[which], cells, strict=True)], axis=1)
        expected = v[:, : start.used[which]] @ start.backward[: start.used[which]] + start.mean
        _, values, _ = model.read(x, which)
        np.testing.assert_allclose(model(values, which).detach(), expected, atol=1e-6)


def test_the_gradient_passes_through_the_cells_as_if_they_were_not_there(x):
    model = embedder()
    y = torch.randn(5, model.used[1], dtype=torch.float64, requires_grad=True)
    weights = torch.randn(5, model.used[1], dtype=torch.float64)
    (model.cells(y, 1) * weights).sum().backward()
    torch.testing.assert_close(y.grad, weights)
    still = embedder(encoder_rate=0.0)
    assert still.shift is None
    assert not still.cells(y, 1).requires_grad


def test_the_synthesis_follows_the_encoder_to_the_first_order(x):
    """P (F + r S) stays the identity on the components but for the square of the step."""
    model = embedder()
    off = []
    for step in (0.1, 1.0):
        with torch.no_grad():
            model.shift.copy_(step * torch.randn(model.shift.shape, generator=torch.Generator().manual_seed(1)))
        v = torch.eye(model.synthesis.shape[0], dtype=torch.float64)
        off.append(float((model.linear(v) @ model.encoder() - v).norm().detach()))
    assert off[1] / off[0] == pytest.approx(100, rel=0.1)


def test_the_parts_of_the_loss_are_what_they_say(x):
    model = embedder(temperature=0.2)
    with torch.no_grad():
        model.outer.normal_(0, 0.3)
    which = drawn_size(0, len(model.sizes))
    parts = loss(model, x, context())
    parts = {name: float((part() if callable(part) else part).detach()) for name, part in parts.items()}
    decoded = model(model.read(x, which)[1], which).detach().numpy()
    original, error = x.numpy(), float(model.errors[which])
    share = error / float(model.variance)
    assert parts["reconstruction"] == pytest.approx(np.square(decoded - original).sum(1).mean() / error)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (original, decoded)]
    true, found = unit[0] @ unit[0].T, unit[0] @ unit[1].T
    assert parts["similarity"] == pytest.approx(np.square(found - true).mean() * original.shape[1] / share)
    chances = []
    for scores in (true, found):
        others = np.exp(scores / 0.2) * (1 - np.eye(ROWS))
        chances.append(others / others.sum(axis=1, keepdims=True) + np.eye(ROWS))
    divergence = (chances[0] * np.log(chances[0] / chances[1])).sum(axis=1).mean()
    assert parts["ranking"] == pytest.approx(divergence / share, rel=1e-6)
    first = np.sign((original - model.mean.numpy()) @ model.encoder().detach().numpy())
    assert parts["balance"] == pytest.approx(np.square(first.mean(axis=0)).mean())
    correlations = np.corrcoef(first.T)
    off = correlations[~np.eye(len(correlations), dtype=bool)]
    assert parts["decorrelation"] == pytest.approx(np.square(off).mean(), rel=1e-4)


def test_sizes_are_drawn_and_all_of_them(x):
    model = embedder()
    found = {float(loss(model, x, context(seed=seed))["reconstruction"]) for seed in range(30)}
    assert len(found) == len(model.sizes)


def test_dropout_is_in_the_loss_and_not_in_what_is_held_out(x):
    model = embedder(dropout=0.5)
    with torch.no_grad():
        model.outer.normal_(0, 1)
    which = drawn_size(3, len(model.sizes))
    dropped = float(loss(model, x, context(seed=3))["reconstruction"])
    model.how = model.how._replace(dropout=0.0)
    assert float(loss(model, x, context(seed=3))["reconstruction"]) != pytest.approx(dropped)
    measured = held_out(x.float().numpy(), x.float().numpy()[:0])(model)
    decoded = model(model.read(x, which)[1], which)
    error = float((decoded - x).square().sum(1).mean() / model.errors[which])
    assert measured[f"error_{model.sizes[which]}"] == pytest.approx(error, rel=1e-5)


def test_what_dropout_leaves_is_scaled_and_gates_weigh_it(x):
    model = embedder(dropout=0.5)
    with torch.no_grad():
        model.outer.normal_(0, 1)
        v = model.read(x, 1)[1]
        closed, whole = model.mean + model.linear(v), model(v, 1)
        keeps = (torch.rand(4000, 1, 16, dtype=torch.float64) >= 0.5) * 2
        mean = torch.stack([model(v, 1, keep) for keep in keeps]).mean(0)
        # A mean over draws: what is left out is made up for.
        assert float((mean - whole).norm() / (whole - closed).norm()) < 0.1
        model.gates[1] = 0.5
        torch.testing.assert_close(model(v, 1) - closed, (whole - closed) / 2)


def test_the_loss_scales_what_dropout_leaves(x, monkeypatch):
    model, kept = embedder(dropout=0.5), []
    monkeypatch.setattr(model, "forward", lambda v, which, keep=None: kept.append(keep) or v.new_zeros(x.shape) + 1)
    loss(model, x, context())
    assert sorted(set(kept[0].unique().tolist())) == [0.0, 2.0]


def test_held_out_recall_is_of_the_rows_themselves(x):
    model = embedder()
    measured = held_out(x.float().numpy(), x.float().numpy()[:0])(model)
    for which, bits in enumerate(model.sizes):
        unit = [
            rows / np.linalg.norm(rows, axis=1, keepdims=True)
            for rows in (x.numpy(), model(model.read(x, which)[1], which).detach().numpy())
        ]
        near = []
        for base in unit:
            scores = unit[0] @ base.T
            np.fill_diagonal(scores, -9)
            near.append(np.argsort(-scores, axis=1)[:, :10])
        share = np.mean([len(np.intersect1d(*pair)) for pair in zip(*near, strict=True)]) / 10
        assert measured[f"recall_{bits}"] == pytest.approx(share)
    assert measured["recall"] == pytest.approx(np.mean([measured[f"recall_{bits}"] for bits in model.sizes]))


def test_ternary_weights_are_trits_times_a_scale_for_each_group():
    w = torch.randn(300, 7, dtype=torch.float64)
    found = ternary(w)
    for start in (0, 128, 256):
        for column in range(7):
            group, mine = w[start : start + 128, column], found[start : start + 128, column]
            scale = mine.abs().max()
            trits = torch.where(group.abs() > group.abs().mean() / 2, group.sign(), 0.0)
            torch.testing.assert_close(mine, trits * scale)
            assert float(scale) == pytest.approx(float((group * trits).sum() / trits.square().sum()))
    assert ternary(torch.zeros(5, 2)).abs().max() == 0


def test_ternary_training_uses_trits_and_keeps_the_gradient():
    model = embedder(ternary=True)
    used = model.weights(model.inner)
    torch.testing.assert_close(used, ternary(model.inner.detach()))
    used.sum().backward()
    torch.testing.assert_close(model.inner.grad, torch.ones_like(model.inner))


def test_values_that_are_made_beforehand_stand_behind_the_rows(x):
    start = embedder_start()
    values = np.random.default_rng(0).standard_normal((len(start.sizes), ROWS, len(start.backward)))
    samples = torch.from_numpy(np.concatenate([x.numpy(), *values], axis=1))
    model = Decoder(start, How(8)).double()
    for which, used in enumerate(start.used):
        rows, found, components = model.read(samples, which)
        torch.testing.assert_close(rows, x)
        np.testing.assert_array_equal(found, values[which][:, :used])
        assert components is None
    assert set(loss(model, samples, context())) == {"reconstruction", "similarity", "ranking"}
