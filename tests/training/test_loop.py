import math
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from subjects import Noisy, Rows, vectors
from torch import nn

from pipeline.stage import UserError
from pipeline.training import checkpoint, log, loop
from pipeline.training.loop import train
from pipeline.training.settings import Settings

X = vectors(100, 16)


def settings(**changed):
    return Settings(**{"steps": 12, "batch": 20, "weights": {"error": 1}, "log_every": 1, **changed})


def error(model, x, context):
    return {"error": (model(x) - x).square().mean()}


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(16, 16)


def held_out(model):
    x = torch.from_numpy(X).to(next(model.parameters()))
    return {"error": (model(x) - x).norm().item(), "other": 1.0}


def weights(model):
    return torch.cat([x.ravel() for x in model.state_dict().values()])


def column(folder, name):
    return log.read(folder)[name].to_pylist()


# --- the step ------------------------------------------------------------------------------------------------------


def test_a_run_is_torchs_adamw_on_the_weighted_sum(tmp_path):
    """The same steps written out by hand, with the learning rate of the log."""
    chosen = settings(
        weights={"error": 2, "size": 0.5, "idle": 0}, warmup_steps=3, weight_decay=0.1, beta1=0.8, beta2=0.9, seed=4
    )

    def loss(model, x, context):
        y = model(x)
        return {"error": (y - x).square().mean(), "size": y.square().mean(), "idle": lambda: pytest.fail("computed")}

    model, peer = linear(), linear()
    train(model, Rows(X), loss, chosen, tmp_path)
    optimizer = torch.optim.AdamW(peer.parameters(), betas=(0.8, 0.9), weight_decay=0.1, fused=True)
    from pipeline.training.sampler import Batches

    batches = Batches(Rows(X), 20, chosen.window, 4)
    rows = [torch.from_numpy(one) for epoch in range(3) for one in batches.epoch(epoch, 0, np.arange(20))]
    for x, rate in zip(rows[:12], column(tmp_path, "learning_rate")[1:], strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        parts = loss(peer, x, None)
        (2 * parts["error"] + 0.5 * parts["size"]).backward()
        optimizer.step()
    assert torch.equal(weights(model), weights(peer))
    assert column(tmp_path, "loss_size")[-1] == parts["size"].item()
    assert "loss_idle" not in log.read(tmp_path).column_names
    total = 2 * parts["error"].item() + 0.5 * parts["size"].item()
    assert column(tmp_path, "loss")[-1] == pytest.approx(total, rel=1e-6)


def test_accumulated_parts_are_the_whole_batch(tmp_path):
    def run(parts):
        model = linear()
        chosen = settings(accumulate=parts, precision="float64", clip_norm=0.1)
        train(model, Rows(X), error, chosen, tmp_path / str(parts))
        return model

    whole, parts = run(1), run(4)
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-12, atol=1e-14)
    assert weights(whole).dtype == torch.float64
    np.testing.assert_allclose(column(tmp_path / "4", "loss")[1:], column(tmp_path / "1", "loss")[1:], rtol=1e-12)


def test_a_gradient_is_clipped_to_its_norm(tmp_path):
    model = nn.Linear(16, 1, bias=False)
    nn.init.zeros_(model.weight)
    before = weights(model).clone()
    seen = []

    def pull(model, x, context):
        model.weight.register_hook(lambda g: g)
        seen.append(model.weight.grad)
        return {"error": 100 * model.weight.sum()}

    chosen = settings(steps=1, clip_norm=0.5, learning_rate=1.0, epsilon=1.0)
    train(model, Rows(X), pull, chosen, tmp_path)
    # The first step of Adam with epsilon 1 is g / (|g| + 1), g clipped to 0.5 / sqrt(16) each.
    torch.testing.assert_close(before - weights(model), torch.full((16,), 0.125 / 1.125), rtol=1e-5, atol=0)
    assert column(tmp_path, "gradient_norm")[-1] == pytest.approx(400)


def test_what_a_loss_is_told(tmp_path):
    told = []

    def loss(model, x, context):
        drawn = torch.rand((), generator=context.generator).item()
        told.append((context.step, context.rows, context.mine, drawn))
        assert context.steps == 3
        assert model.training
        return {"error": model(context.gather(x)).square().mean()}

    train(linear(), Rows(X), loss, settings(steps=3, accumulate=2), tmp_path / "a")
    assert [one[:3] for one in told] == [(step, 10, slice(0, 10)) for step in (0, 0, 1, 1, 2, 2)]
    assert len({one[3] for one in told}) == 6
    first, told = told, []
    train(linear(), Rows(X), loss, settings(steps=3, accumulate=2), tmp_path / "b")
    assert told == first


def test_token_numbers_stay_whole_numbers(tmp_path):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.vectors = nn.Embedding(50, 4)

    def loss(model, tokens, context):
        assert tokens.dtype == torch.int32
        return {"error": model.vectors(tokens).square().mean()}

    blocks = np.random.default_rng(0).integers(0, 50, (100, 6), dtype=np.int32)
    train(Words(), Rows(blocks), loss, settings(precision="float64"), tmp_path)
    values = column(tmp_path, "loss")[1:]
    assert values[-1] < values[0]


# --- evaluation and early stopping ---------------------------------------------------------------------------------


def rising(values):
    """A held-out metric that takes these values, whatever the model."""
    left = iter(values)

    def measure(model):
        assert not model.training
        assert not torch.is_grad_enabled()
        return {"error": next(left)}

    return measure


def test_patience_stops_and_the_best_weights_stay(tmp_path):
    seen = {}

    def measure(model):
        step = 2 * len(seen)
        seen[step] = weights(model).clone()
        return {"error": {0: 9.0, 2: 5.0, 4: 3.0, 6: 4.0, 8: 3.5}[step]}

    model = linear()
    chosen = settings(evaluate_every=2, metric="error", patience=2)
    result = train(model, Rows(X), error, chosen, tmp_path, measure)
    assert (result.ended_by, result.steps, result.best, result.best_step) == ("patience", 8, 3.0, 4)
    assert torch.equal(weights(model), seen[4])
    assert not torch.equal(seen[4], seen[8])
    assert column(tmp_path, "held_out_error") == [9, None, 5, None, 3, None, 4, None, 3.5]
    assert torch.equal(checkpoint.read(tmp_path / "last.safetensors").part("model")["bias"], seen[8][-16:])


def test_the_start_is_evaluated_and_may_be_the_best(tmp_path):
    model = linear()
    before = weights(model).clone()
    chosen = settings(evaluate_every=6, metric="error", larger_is_better=True)
    result = train(model, Rows(X), error, chosen, tmp_path, rising([5.0, 4.0, 3.0]))
    assert (result.ended_by, result.steps, result.best_step) == ("steps", 12, 0)
    assert torch.equal(weights(model), before)


def test_without_a_metric_the_last_weights_stay_and_all_metrics_are_logged(tmp_path):
    model = linear()
    result = train(model, Rows(X), error, settings(evaluate_every=5), tmp_path, held_out)
    assert result[:4] == ("steps", 12, None, None)
    assert column(tmp_path, "held_out_other") == [1.0 if step in (0, 5, 10, 12) else None for step in range(13)]
    assert column(tmp_path, "held_out_error")[-1] == held_out(model)["error"]
    assert torch.equal(weights(model)[-16:], checkpoint.read(tmp_path / "last.safetensors").part("model")["bias"])


def test_the_log_has_its_columns(tmp_path):
    train(linear(), Rows(X), error, settings(log_every=5, evaluate_every=6), tmp_path, held_out)
    assert column(tmp_path, "step") == [0, 5, 6, 10, 12]
    assert column(tmp_path, "epoch") == [0, 1, 1.2, 2, 2.4]
    seconds, speed = column(tmp_path, "seconds"), column(tmp_path, "samples_per_s")
    assert seconds == sorted(seconds)
    assert speed[0] is None
    assert all(20 / (seconds[-1] + 1) < one < 1e7 for one in speed[1:])
    assert not (tmp_path / "log").exists()


def test_throughput_is_that_of_the_steps_since_the_row_before(tmp_path, monkeypatch):
    now = 0.0  # on a clock that only the losses and the evaluation move

    def takes(seconds):
        nonlocal now
        now += seconds

    def loss(model, x, context):
        takes(0.1 if context.step < 4 else 0.01)
        return error(model, x, context)

    def slow(model):
        takes(10)  # evaluation does not count
        return {"error": 1.0}

    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now))
    train(linear(), Rows(X), loss, settings(log_every=4, evaluate_every=4), tmp_path, slow)
    assert column(tmp_path, "samples_per_s")[1:] == pytest.approx([200, 2000, 2000])


# --- bad input -----------------------------------------------------------------------------------------------------


def test_a_metric_that_is_not_held_out_is_refused(tmp_path):
    with pytest.raises(UserError, match="metric 'recall' is not one of those held out: error, other"):
        train(linear(), Rows(X), error, settings(metric="recall"), tmp_path, held_out)
    with pytest.raises(UserError, match="metric is recall, but nothing is held out"):
        train(linear(), Rows(X), error, settings(metric="recall"), tmp_path)
    chosen = settings(metric="error", evaluate_every=4)
    with pytest.raises(UserError, match="after step 4: the held-out metric 'error' is nan; the last good"):
        train(linear(), Rows(X), error, chosen, tmp_path, rising([1.0, math.nan]))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"error": 1, "size": 1}, "weights.size: this weight has no part of the loss; the parts are error"),
        ({"size": 1}, "weights.error: this part of the loss has no weight"),
    ],
)
def test_weights_and_parts_have_the_same_names(tmp_path, given, said):
    with pytest.raises(UserError, match=said):
        train(linear(), Rows(X), error, settings(weights=given), tmp_path)


def test_fewer_samples_than_a_batch_are_refused(tmp_path):
    with pytest.raises(UserError, match="100 samples to train on are fewer than a batch of 101"):
        train(linear(), Rows(X), error, settings(batch=101), tmp_path)


def test_a_part_that_is_not_finite_stops_and_the_last_good_checkpoint_stays(tmp_path):
    def loss(model, x, context):
        first = (model(x) - x).square().mean()
        return {"error": first, "ratio": first * (math.inf if context.step == 7 else 1)}

    chosen = settings(weights={"error": 1, "ratio": 0.1}, checkpoint_every=3)
    with pytest.raises(
        UserError, match=r"after step 7: the part 'ratio' of the loss is inf.*checkpoint is .*last\.safe"
    ):
        train(linear(), Rows(X), loss, chosen, tmp_path)
    kept = checkpoint.read(tmp_path / "last.safetensors")
    assert kept.facts["step"] == 6
    assert all(x.isfinite().all() for x in kept.part("model").values())
    assert column(tmp_path, "step")[-1] == 7


def test_a_gradient_that_is_not_finite_stops(tmp_path):
    def loss(model, x, context):
        return {"error": (model.weight * 0).sum().sqrt()}

    with pytest.raises(UserError, match="after step 0: the gradient is nan, though all parts of the loss are finite"):
        train(linear(), Rows(X), loss, settings(), tmp_path)


@pytest.mark.parametrize(
    ("changed", "rows", "model", "said"),
    [
        ({"batch": 25}, Rows(X), linear, r"settings\.batch was 20 and is now 25; remove .* to start anew"),
        ({"weights": {"error": 2}}, Rows(X), linear, r"settings\.weights\.error was 1 and is now 2"),
        ({}, Rows(X, identity="other"), linear, "data was rows and is now other"),
        ({}, Rows(X), lambda: nn.Linear(16, 16, bias=False), r"parameters\.bias was \[16\] and is now absent"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(tmp_path, changed, rows, model, said):
    train(linear(), Rows(X), error, settings(), tmp_path)
    with pytest.raises(UserError, match=said):
        train(model(), rows, error, settings(**changed), tmp_path)


def test_a_checkpoint_with_other_facts_is_refused(tmp_path):
    train(linear(), Rows(X), error, settings(), tmp_path, facts={"options": {"code": 1}})
    with pytest.raises(UserError, match=r"facts\.options\.code was 1 and is now 2"):
        train(linear(), Rows(X), error, settings(), tmp_path, facts={"options": {"code": 2}})


# --- going on ------------------------------------------------------------------------------------------------------


class StopError(Exception):
    pass


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("stop", [0, 3, 8, 13])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path, stop, precision):
    """Over epochs that end between the checkpoints, with every random generator in use."""

    def stopping(at):
        def loss(model, x, context):
            if context.step == at:
                raise StopError
            return error(model, x, context)

        return loss

    chosen = settings(
        steps=20, evaluate_every=4, checkpoint_every=3, metric="error", patience=4, warmup_steps=5, precision=precision
    )
    models = []
    for name, stops in (("whole", [None]), ("stopped", [stop, None])):
        for number, at in enumerate(stops):
            torch.manual_seed(3 + number)  # the run that goes on begins with other weights
            model = Noisy()
            with suppress(StopError):
                result = train(model, Rows(X), stopping(at), chosen, tmp_path / name, held_out)
        models.append((weights(model), result[:4]))
    assert torch.equal(models[0][0], models[1][0])
    assert models[0][1] == models[1][1]
    whole, stopped = (log.read(tmp_path / name) for name in ("whole", "stopped"))
    timed = ["seconds", "samples_per_s"]
    assert whole.drop_columns(timed).equals(stopped.drop_columns(timed))
    last = [checkpoint.read(tmp_path / name / "last.safetensors") for name in ("whole", "stopped")]
    assert all(torch.equal(x, last[1].tensors[name]) for name, x in last[0].tensors.items())
    assert last[0].facts | {"seconds": 0} == last[1].facts | {"seconds": 0}
    seconds = stopped["seconds"].to_pylist()
    assert seconds == sorted(seconds)


def test_steps_that_are_made_again_are_logged_once(tmp_path):
    """What was logged behind the last checkpoint is on disk as well when a loss was not finite."""

    def loss(at):
        def measure(model, x, context):
            if at is None and context.step == 5:  # the first step that is made again
                assert column(tmp_path, "step") == list(range(6))
            return {"error": (model(x) - x).square().mean() * (math.nan if context.step == at else 1)}

        return measure

    chosen = settings(checkpoint_every=5)
    with pytest.raises(UserError, match="after step 8"):
        train(linear(), Rows(X), loss(8), chosen, tmp_path)
    assert column(tmp_path, "step") == list(range(9))
    train(linear(), Rows(X), loss(None), chosen, tmp_path)
    assert column(tmp_path, "step") == list(range(13))


def test_what_is_left_of_a_run_whose_checkpoint_is_gone_is_removed(tmp_path):
    train(linear(), Rows(X), error, settings(), tmp_path)
    (tmp_path / "last.safetensors").unlink()
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "part-000000005.parquet").write_bytes((tmp_path / "log.parquet").read_bytes())
    train(linear(), Rows(X), error, settings(steps=4), tmp_path)
    assert column(tmp_path, "step") == list(range(5))


def test_a_run_that_has_ended_gives_its_result_and_trains_no_more(tmp_path):
    chosen = settings(metric="error", evaluate_every=3)
    first = linear()
    result = train(first, Rows(X), error, chosen, tmp_path, held_out)
    again = linear(seed=1)
    assert train(again, Rows(X), None, chosen, tmp_path, held_out) == result
    assert torch.equal(weights(again), weights(first))


def test_two_runs_in_one_folder_wait_for_each_other(tmp_path, caplog):
    import fcntl
    import threading

    tmp_path.joinpath(".lock").touch()
    with open(tmp_path / ".lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run = threading.Thread(target=train, args=(linear(), Rows(X), error, settings(), tmp_path))
        run.start()
        run.join(0.5)
        assert run.is_alive()
        assert not (tmp_path / "last.safetensors").exists()
    run.join(30)
    assert (tmp_path / "last.safetensors").exists()


# --- precision -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "computed"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_short_numbers_compute_and_long_ones_are_kept(tmp_path, precision, computed):
    kinds = set()

    def loss(model, x, context):
        y = model(x)
        kinds.add(y.dtype)
        return {"error": (y.float() - x).square().mean()}

    model = linear()
    train(model, Rows(X), loss, settings(precision=precision, steps=60, learning_rate=0.01), tmp_path)
    assert kinds == {computed}
    assert model.weight.dtype == torch.float32
    values = column(tmp_path, "loss")[1:]
    assert values[-1] < 0.5 * values[0]


def test_a_float16_gradient_that_would_vanish_is_scaled(tmp_path):
    """The outputs' gradients, 1e-6 / 320, lie below float16's least number, 6e-8, unless they are scaled first."""

    def loss(model, x, context):
        return {"error": 1e-6 * model(x).float().mean()}

    model = linear()
    before = weights(model).clone()
    train(model, Rows(X), loss, settings(precision="float16", steps=1, epsilon=1e-30), tmp_path)
    assert (weights(model) != before).float().mean() > 0.9


def test_float16_gradients_are_clipped_by_their_true_length(tmp_path):
    lengths = {}
    for precision in ("float32", "float16"):
        chosen = settings(precision=precision, clip_norm=1e-3, epsilon=1.0)
        model = linear()
        train(model, Rows(X), error, chosen, tmp_path / precision)
        lengths[precision] = column(tmp_path / precision, "gradient_norm")[1:], weights(model) - weights(linear())
    np.testing.assert_allclose(lengths["float16"][0], lengths["float32"][0], rtol=0.01)
    torch.testing.assert_close(lengths["float16"][1], lengths["float32"][1], rtol=0.1, atol=1e-8)


def test_a_float16_step_that_overflows_is_left_out(tmp_path):
    def loss(model, x, context):
        return {"error": (model.weight * (1e37 if context.step == 0 else 1)).mean()}

    model = linear()
    before = weights(model).clone()
    train(model, Rows(X), loss, settings(precision="float16", steps=1), tmp_path)
    assert torch.equal(weights(model), before)
    train(model, Rows(X), loss, settings(precision="float16", steps=2), tmp_path / "more")
    assert not torch.equal(weights(model), before)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda facts, _: facts.clear(), r"no checkpoint to go on from; remove .* to start anew \(no configuration\)"),
        (lambda facts, _: facts.update(step="3"), r"to start anew \(step is '3'\)"),
        (lambda facts, _: facts["stopping"].update(other=1), r"to start anew \(TypeError: .*other"),
        (lambda _, tensors: tensors.pop("model.bias"), r"of another architecture: bias is absent, expected \[16\]"),
        (lambda _, tensors: tensors.pop("random.0.python"), r"to start anew \(KeyError: 'python'\)"),
    ],
)
def test_a_checkpoint_that_lacks_something_is_named_when_a_run_goes_on(tmp_path, harm, said):
    train(linear(), Rows(X), error, settings(), tmp_path)
    path = tmp_path / "last.safetensors"
    saved = checkpoint.read(path)
    harm(saved.facts, saved.tensors)
    checkpoint.write(path, saved.tensors, saved.facts)
    with pytest.raises(UserError, match=rf"last\.safetensors: .*{said}"):
        train(linear(), Rows(X), error, settings(), tmp_path)
