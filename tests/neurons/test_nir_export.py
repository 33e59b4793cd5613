"""Graphs written, read back and run by an interpreter of their nodes' equations, against the layers themselves."""

import sys

import nir
import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import nn

from pipeline.neurons.lif import LIF, Homeostasis
from pipeline.neurons.nir_export import DISCRETISATIONS, export, graph
from pipeline.stage import UserError

STEPS, ROWS, NEURONS, DT = 200, 4, 48, 1e-3
RESETS = pytest.mark.parametrize("reset", ["immediate", "delayed"])
EACH_WAY = pytest.mark.parametrize("discretisation", DISCRETISATIONS)


def in_order(read):
    """Names such that each node's inputs come before it: what a delay gives is from earlier steps."""
    after = {name: {a for a, b in read.edges if b == name} for name in read.nodes}
    waiting = [name for name in read.nodes if not isinstance(read.nodes[name], nir.Delay)]
    done = [name for name in read.nodes if name not in waiting]
    while waiting:
        name = next(one for one in waiting if after[one] <= set(done))
        done.append(name)
        waiting.remove(name)
    return done


def simulate(read, current):
    """What the graph's output gives, [T, rows, N], for what is fed to its input; float64, all at rest before."""
    dt, exponential = read.metadata["dt"], read.metadata["discretisation"] == "exponential"
    order, rows = in_order(read), current.shape[1]
    into = {name: [a for a, b in read.edges if b == name] for name in order}
    v = {name: 0.0 for name in order}
    past = {name: [] for name in order}  # outputs, a step each
    for t, fed in enumerate(current):
        now = {}
        for name in order:
            node = read.nodes[name]
            if isinstance(node, nir.Delay):
                (steps,) = set(np.rint(node.delay / dt).astype(int))
                before = t - steps
                now[name] = (
                    sum(past[a][before] for a in into[name]) if before >= 0 else np.zeros((rows, len(node.delay)))
                )
                continue
            x = fed if isinstance(node, nir.Input) else sum(now[a] for a in into[name])
            if isinstance(node, nir.LI):
                end = node.v_leak + node.r * x
                kept = np.exp(-dt / node.tau) if exponential else 1 - dt / node.tau
                x = v[name] = kept * v[name] + (1 - kept) * end
            elif isinstance(node, nir.Threshold):
                x = (x > node.threshold).astype(float)
            elif isinstance(node, nir.Scale):
                x = x * node.scale
            elif isinstance(node, nir.Affine):
                x = x @ node.weight.T + node.bias
            elif isinstance(node, nir.Linear):
                x = x @ node.weight.T
            else:
                assert isinstance(node, nir.Input | nir.Output)
            now[name] = x
        for name, x in now.items():
            past[name].append(x)
    return np.stack(past["output"])


def written(made, folder):
    nir.write(folder / "made.nir", made)
    return nir.read(folder / "made.nir")


def drive(neurons=NEURONS, seed=0):
    return torch.randn(STEPS, ROWS, neurons, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.3


def varied(reset, neurons=NEURONS, seed=1):
    """A layer of float64 whose neurons all differ."""
    draw, layer = torch.Generator().manual_seed(seed), LIF(neurons, reset=reset, backend="reference").double()
    with torch.no_grad():
        layer.decay_logit.copy_(4 * torch.rand(neurons, generator=draw) - 1)
        layer.log_threshold.copy_(torch.rand(neurons, generator=draw) - 0.3)
    return layer


def same_spikes(layers, read, current):
    with torch.no_grad():
        ours = nn.Sequential(*layers)(current).numpy()
    assert 0.05 < ours.mean() < 0.6
    assert np.array_equal(simulate(read, current.numpy()), ours)
    return ours


@RESETS
@EACH_WAY
def test_a_layer_read_back_spikes_as_ours(reset, discretisation, tmp_path):
    layer = varied(reset)
    read = written(graph(layer, DT, discretisation), tmp_path)
    assert read.metadata == {"dt": DT, "discretisation": discretisation}
    same_spikes([layer], read, drive())


def test_the_resets_are_told_apart():
    """Else the comparison above could not tell one's loop from the other's."""
    immediate, delayed = (simulate(graph(varied(reset), DT), drive().numpy()) for reset in ("immediate", "delayed"))
    assert (immediate != delayed).mean() > 0.01


@EACH_WAY
def test_a_stack_with_and_without_bias_spikes_as_ours(discretisation, tmp_path):
    torch.manual_seed(2)
    layers = [
        nn.Linear(24, NEURONS, bias=False).double(), varied("delayed"),
        nn.Linear(NEURONS, 16).double(), LIF(16, 0.75, 0.2, learned=False, backend="reference").double(),
    ]  # fmt: skip
    layers[2].bias.data += 0.1
    read = written(export(layers, DT, discretisation), tmp_path)
    same_spikes(layers, read, 2 * drive(24))
    assert isinstance(read.nodes["linear_0"], nir.Linear)
    assert isinstance(read.nodes["linear_2"], nir.Affine)
    assert simulate(export(nn.Sequential(layers[0]), DT), drive(24).numpy()).shape == (STEPS, ROWS, NEURONS)


def test_homeostasis_at_rest_is_in_the_thresholds(tmp_path):
    layer = LIF(NEURONS, homeostasis=Homeostasis(speed=0.5), backend="reference").double()
    layer(drive())
    layer.eval()
    assert layer.raised.abs().min() > 0
    same_spikes([layer], written(graph(layer, DT), tmp_path), drive())


@pytest.mark.parametrize("dt", [1e-4, 1.0])
def test_the_differential_equation_gives_our_step(dt):
    """Solved by another's solver with the current held: u = beta u + i after dt, whatever dt is."""
    layer = varied("delayed")
    node = graph(layer, dt, "exponential").nodes["lif_0_integrator"]
    u, i = np.random.default_rng(3).normal(size=(2, NEURONS))
    solved = solve_ivp(lambda _, v: (node.v_leak - v + node.r * i) / node.tau, (0, dt), u, rtol=1e-10, atol=1e-12)
    beta = layer.decay.detach().numpy()
    np.testing.assert_allclose(solved.y[:, -1], beta * u + i, rtol=0, atol=1e-8)


def test_a_graph_keeps_what_the_layer_was():
    layer = LIF(3, learned=False).double()
    made = graph(layer, DT)
    layer.move_threshold(2)
    assert made.nodes["lif_0_threshold"].threshold.tolist() == [1, 1, 1]


def test_only_immediate_differs_at_the_threshold_itself():
    """beta = 1/2, theta = 1: u is 1/2, then 1/4 + 3/4 = theta, with no rounding."""
    at = torch.tensor([0.5, 0.75, 0.0]).double().reshape(3, 1, 1)
    for reset, ours, theirs in (("immediate", [0, 1, 0], [0, 0, 0]), ("delayed", [0, 0, 0], [0, 0, 0])):
        layer = LIF(1, reset=reset, learned=False, backend="reference").double()
        assert layer(at).flatten().tolist() == ours
        assert simulate(graph(layer, DT), at.numpy()).flatten().tolist() == theirs


def with_decay(value):
    layer = LIF(3)
    with torch.no_grad():
        layer.decay_logit[1] = value
    return layer


class Other(LIF):
    pass


def not_finite():
    layer = nn.Linear(3, 3)
    layer.bias.data[1] = torch.nan
    return layer


def endless():
    layer = LIF(3)
    layer.log_threshold.data[1] = 1000
    return layer


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ([nn.Linear(3, 3), LIF(3, adaptation=(0.1, 0.9))], "layer 1: an adaptive threshold"),
        ([LIF(3, bounds=(-1, 1))], "layer 0: bounds"),
        ([LIF(3, homeostasis=Homeostasis())], r"layer 0: homeostasis .* eval\(\)"),
        ([LIF(3, 1.0, learned=False)], "layer 0: decay of neuron 0 is 1: .* tau is above 0 and finite"),
        ([with_decay(100)], "layer 0: decay of neuron 1 is 1:"),
        ([with_decay(-200)], "layer 0: decay of neuron 1 is 0:"),
        ([with_decay(torch.nan)], "layer 0: decay is not finite"),
        ([endless()], "layer 0: threshold is not finite"),
        ([not_finite()], "layer 0: bias is not finite"),
        ([nn.Linear(3, 3), nn.RNN(3, 3)], "layer 1 is a RNN"),
        ([Other(3)], "layer 0 is a Other"),
        ([nn.Linear(3, 4), LIF(3)], "layer 1 takes 3 values, the one before it gives 4"),
        ([], "no layers"),
        (iter([]), "no layers"),
    ],
)
def test_what_nir_cannot_say_is_refused(layers, why):
    with pytest.raises(ValueError, match=f"^{why}") as caught:
        export(layers, DT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dt", [0, -1e-3, float("inf"), float("nan")])
def test_a_step_of_no_length_is_refused(dt):
    with pytest.raises(ValueError, match=f"^dt is {dt}"):
        graph(LIF(3), dt)


def test_an_unknown_discretisation_is_refused():
    with pytest.raises(ValueError, match="'midpoint' is not one of euler, exponential"):
        graph(LIF(3), DT, "midpoint")


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(UserError, match=r"package nir, .* pip install -e '\.\[nir\]'"):
        graph(LIF(3), DT)
