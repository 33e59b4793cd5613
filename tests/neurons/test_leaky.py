"""The reference against snnTorch and SpikingJelly, bit for bit; the fused kernel against the reference."""

import itertools
import re
import subprocess
import sys

import pytest
import snntorch
import torch
from safetensors.torch import load_file
from snntorch import surrogate as snntorch_slopes
from spikingjelly.activation_based import neuron, surrogate

from pipeline.neurons import leaky_cpu, leaky_kernels
from pipeline.neurons.fused import fused_leaky
from pipeline.neurons.leaky import Adaptation, State, leaky
from pipeline.neurons.lif import LIF, Homeostasis
from pipeline.neurons.surrogate import DEFAULTS, named

STEPS = 256
DECAYS, THRESHOLDS = (0.3, 0.5, 0.75, 0.9, 0.99), (0.7, 1.0)
BOTH = pytest.mark.parametrize("layer", [leaky, fused_leaky])


def drive(threshold: float) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    current = torch.rand(STEPS, 3, 64, generator=draw) * threshold
    current[:, :, :8] = threshold / 2  # reaches the threshold exactly where decay is 1/2
    current[0, :, 8:16] = threshold
    return current


@BOTH
@pytest.mark.parametrize(("decay", "threshold"), list(itertools.product(DECAYS, THRESHOLDS)))
def test_delayed_is_snntorch(layer, decay, threshold):
    current = drive(threshold).requires_grad_()
    peer = snntorch.Leaky(
        decay, threshold, spike_grad=snntorch_slopes.atan(), learn_beta=True, learn_threshold=True
    )  # fmt: skip
    potential, spikes = torch.zeros_like(current[0]), []
    for one in current:
        spike, potential = peer(one, potential)
        spikes.append(spike)
    beta, theta = torch.tensor(decay, requires_grad=True), torch.tensor(threshold, requires_grad=True)
    ours, state = layer(current, beta, theta, "delayed")
    assert torch.equal(ours, torch.stack(spikes))
    assert torch.equal(state.potential, potential)
    by = torch.sin(torch.arange(ours.numel())).reshape(ours.shape)
    mine = torch.autograd.grad(ours, (current, beta, theta), by)
    theirs = torch.autograd.grad(torch.stack(spikes), (current, peer.beta, peer.threshold), by)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@BOTH
@pytest.mark.parametrize(("decay", "threshold"), list(itertools.product(DECAYS, THRESHOLDS)))
def test_immediate_is_spikingjelly(layer, decay, threshold):
    current, beta = drive(threshold).requires_grad_(), torch.tensor(decay)
    peer = neuron.LIFNode(
        tau=1 / (1 - beta.item()), decay_input=False, v_threshold=threshold, v_reset=None, detach_reset=True,
        surrogate_function=surrogate.ATan(), step_mode="m",
    )  # fmt: skip
    spikes = peer(current)
    ours, state = layer(current, beta, torch.tensor(threshold))
    assert torch.equal(ours, spikes)
    assert torch.equal(state.potential, peer.v)
    by = torch.sin(torch.arange(ours.numel())).reshape(ours.shape)
    (one,), (other,) = (torch.autograd.grad(of, current, by) for of in (ours, spikes))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


def inputs(shape, dtype):
    draw = torch.Generator().manual_seed(3)

    def of(*size):
        return torch.rand(*size, generator=draw).to(dtype)

    wanted = [
        *(of(*shape) * 1.5 - 0.2, of(shape[-1]) * 0.5 + 0.45, of(shape[-1]) * 0.5 + 0.5),
        *(of(shape[-1]) * 0.3, of(shape[-1]) * 0.5 + 0.4, of(*shape[1:]), of(*shape[1:])),
    ]
    return [one.requires_grad_() for one in wanted], (of(*shape[1:]) > 0.5).to(dtype)


def both_ways(layer, shape, dtype, reset, slope, adapts, bounds):
    """Spikes, the last state, and the gradients of all inputs by a loss of all outcomes."""
    (current, decay, threshold, strength, rho, potential, trace), spiked = wanted, _ = inputs(shape, dtype)
    state = State(potential, spiked if reset == "delayed" else None, trace if adapts else None)
    adaptation = Adaptation(strength, rho) if adapts else None
    spikes, last = layer(current, decay, threshold, reset, named(slope), adaptation, bounds, state)
    by = torch.sin(torch.arange(spikes.numel(), dtype=dtype)).reshape(spikes.shape)
    loss = (spikes * by).sum() + (last.potential * by[0]).sum()
    if adapts:
        loss = loss + (last.trace * by[-1]).sum()
    loss.backward()
    return spikes.detach(), last, [one.grad for one in wanted]


def agrees(layer, *asked):
    """Whether a layer does forward and backward what the reference does, of `both_ways`' arguments."""
    spikes, last, gradients = both_ways(leaky, *asked)
    ours, our_last, our_gradients = both_ways(layer, *asked)
    assert 0.05 < spikes.mean() < 0.95
    assert torch.equal(ours, spikes)
    for one, other in zip(our_last, last, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    for one, other in zip(our_gradients, gradients, strict=True):
        if other is None:  # the reference was not given it
            assert one is None or not one.any()
        else:
            near = 1e-5 if one.dtype == torch.float32 else 1e-12
            torch.testing.assert_close(one, other, rtol=near, atol=near * float(other.abs().max()))


@pytest.mark.parametrize("reset", ["immediate", "delayed"])
@pytest.mark.parametrize("adapts", [False, True])
@pytest.mark.parametrize("bounds", [None, (-0.5, 1.2)])
@pytest.mark.parametrize("slope", DEFAULTS)
def test_the_fused_kernel_is_the_reference(reset, adapts, bounds, slope):
    for shape, dtype in (((20, 3, 70), torch.float32), ((7, 2, 3, 5), torch.float32), ((11, 2, 1500), torch.float32)):
        asked = (shape, dtype, reset, slope, adapts, bounds)
        agrees(fused_leaky, *asked)


@pytest.mark.parametrize("openmp", [True, False])
def test_threads_share_blocks(openmp, monkeypatch):
    monkeypatch.setattr(leaky_cpu, "SMALL", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    if not openmp:
        monkeypatch.setattr(leaky_cpu, "_openmp", lambda: None)
    asked = ((11, 5, 700), torch.float32, "delayed", "atan", True, None)
    agrees(fused_leaky, *asked)
    first, again = (both_ways(fused_leaky, *asked)[2] for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_one_parameter_for_all_neurons_is_many_alike():
    current = torch.rand(9, 4, 70, requires_grad=True)
    one = [torch.tensor(value, requires_grad=True) for value in (0.6, 0.8)]
    many = [value.detach().expand(70).clone().requires_grad_() for value in one]
    (spikes, _), (others, _) = fused_leaky(current, *one), fused_leaky(current, *many)
    assert torch.equal(spikes, others)
    of_one, of_many = (torch.autograd.grad(s.sum(), given) for s, given in ((spikes, one), (others, many)))
    for mine, theirs in zip(of_one, of_many, strict=True):
        torch.testing.assert_close(mine, theirs.sum())


@BOTH
def test_a_current_without_neurons_is_refused(layer):
    for shape in ((), (4,)):
        with pytest.raises(ValueError, match=r"expected \[T, ..., N\]"):
            layer(torch.rand(shape), torch.full(shape, 0.5), torch.tensor(1.0))


def test_a_gradient_of_the_fused_gradient_is_refused_and_not_left_out():
    current, decay = torch.rand(5, 2, 8, requires_grad=True), torch.tensor(0.5, requires_grad=True)
    spikes, _ = fused_leaky(current, decay, torch.tensor(1.0))
    (by_current,) = torch.autograd.grad((spikes * decay).sum(), current, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        (by_current.square().sum() + decay).backward()


@pytest.mark.parametrize("name", ["forward", "backward"])
def test_a_kernel_that_was_compiled_once_is_found_again(name):
    anew = leaky_kernels.kernel.__wrapped__
    anew(name, torch.float32)
    assert anew(name, torch.float32).made.cache_hits == 1


def test_what_lies_elsewhere_is_refused():
    half, current = torch.tensor(0.5), torch.rand(5, 2, 8)
    with pytest.raises(ValueError, match="a tensor on meta, the current on cpu"):
        fused_leaky(current, half.to("meta"), half)


@BOTH
def test_parameters_and_states_of_another_shape_are_named(layer):
    half, current = torch.tensor(0.5), torch.rand(5, 2, 8)
    for shape in ([2, 8], [7], [1, 8]):
        wrong = torch.full(shape, 0.5)
        for name, given in (
            ("decay", {"decay": wrong}),
            ("threshold", {"threshold": wrong}),
            ("adaptation strength", {"adaptation": Adaptation(wrong, half)}),
            ("adaptation decay", {"adaptation": Adaptation(half, wrong)}),
        ):
            with pytest.raises(ValueError, match=rf"^{name} of shape {re.escape(str(shape))}: expected \[8\] or one"):
                layer(current, **{"decay": half, "threshold": half, **given})
    for shape in ([7], [3, 8], [5, 2, 8]):
        for name in State._fields:
            state = State(half)._replace(**{name: torch.zeros(shape)})
            with pytest.raises(ValueError, match=rf"^{name} of shape {re.escape(str(shape))}: expected \[2, 8\]$"):
                layer(current, half, half, state=state)


def test_one_potential_for_all_neurons_is_many_alike():
    half, current, potential = torch.tensor(0.5), torch.rand(5, 2, 8), torch.full((2, 8), 0.3)
    wanted, _ = leaky(current, half, half, state=State(potential))
    for layer in (leaky, fused_leaky):
        for one in (potential[0, 0], potential[0], potential[:, :1]):
            assert torch.equal(layer(current, half.reshape(1), half, state=State(one))[0], wanted)


def test_backward_keeps_the_current_and_no_potentials():
    layer, current, kept = LIF(64), torch.rand(50, 4, 64, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one.numel()) or one, lambda one: one):
        layer(current)
    assert sum(one >= current.numel() for one in kept) == 1
    kept.clear()
    with (
        torch.no_grad(),
        torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one),
    ):
        layer(current)
    assert not kept


def test_narrower_types_are_computed_as_float32():
    current = torch.rand(9, 2, 5).bfloat16()
    spikes, state = fused_leaky(current, torch.tensor(0.9), torch.tensor(1.0))
    assert spikes.dtype == state.potential.dtype == torch.bfloat16
    assert torch.equal(spikes.float(), leaky(current.float(), torch.tensor(0.9), torch.tensor(1.0))[0])


def test_a_state_is_gone_on_from():
    for reset in ("immediate", "delayed"):
        layer = LIF(8, 0.9, reset=reset, adaptation=(0.2, 0.9))
        current = torch.rand(12, 3, 8)
        first, state = layer.run(current[:5])
        assert torch.equal(torch.cat([first, layer.run(current[5:], state)[0]]), layer(current))


def test_backends():
    torch.manual_seed(0)
    current = torch.rand(12, 3, 8)
    for backend in ("auto", "fused", "reference"):
        assert torch.equal(LIF(8, 0.9, backend=backend)(current), LIF(8, 0.9)(current))
    with pytest.raises(ValueError, match="backend 'triton' is not one of auto, fused, reference"):
        LIF(8, backend="triton")
    with pytest.raises(ValueError, match="T is 0"):
        LIF(8)(current[:0])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"neurons": 0}, "neurons is 0"),
        ({"decay": float("nan")}, "decay is nan"),
        ({"threshold": 0.0}, "threshold is 0"),
        *(({"bounds": bounds}, "bounds are") for bounds in ((1, -1), (1, 1), (float("nan"), 1), (0, float("nan")))),
        *(
            ({"adaptation": adaptation}, "adaptation is")
            for adaptation in ((-0.1, 0.9), (float("inf"), 0.9), (float("nan"), 0.9), (0.1, -0.1), (0.1, 1.1))
        ),
        ({"adaptation": (0.1, float("nan"))}, "adaptation is"),
        *(
            ({"homeostasis": Homeostasis(target, speed)}, "Homeostasis.*: expected a target in 0 .. 1 and a speed")
            for target, speed in ((-1, 0.1), (1.5, 0.1), (float("nan"), 0.1), (0.1, -1), (0.1, float("nan")))
        ),
    ],
)
def test_values_out_of_range_are_refused_by_name(given, said):
    with pytest.raises(ValueError, match=said):
        LIF(**{"neurons": 3, **given})


@pytest.mark.parametrize("reset", ["immediate", "delayed"])
def test_spikes_take_the_place_of_the_current_where_no_gradient_is_wanted(reset):
    given = drive(1.0)
    layer, inplace = LIF(64, reset=reset), LIF(64, reset=reset, inplace=True)
    current = given.clone()
    with torch.no_grad():
        expected, last = layer.run(given)
        found, state = inplace.run(current)
    assert torch.equal(given, drive(1.0))
    assert found.data_ptr() == current.data_ptr()
    assert torch.equal(found, expected)
    assert torch.equal(state.potential, last.potential)
    current = given.clone()
    inplace(current).sum().backward()  # the threshold and decay are learned
    assert torch.equal(current, given)


TOGETHER = """
import sys, torch, torch.distributed as dist
from safetensors.torch import save_file
from pipeline.neurons.lif import LIF, Homeostasis
folder, rank, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if count > 1:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=count)
current = torch.rand(20, 8, 6, generator=torch.Generator().manual_seed(1)) * 3
layer = LIF(6, homeostasis=Homeostasis(0.1, 0.5))
for _ in range(3):
    layer(current.chunk(count, dim=1)[rank])
save_file({"raised": layer.raised}, f"{folder}/{rank}-of-{count}")
if count > 1:
    dist.destroy_process_group()
"""


def test_processes_move_thresholds_together(tmp_path):
    started = [
        subprocess.Popen([sys.executable, "-c", TOGETHER, tmp_path, str(rank), str(count)])
        for rank, count in ((0, 1), (0, 2), (1, 2))
    ]
    assert [one.wait(120) for one in started] == [0, 0, 0]
    alone, *others = (load_file(tmp_path / name)["raised"] for name in ("0-of-1", "0-of-2", "1-of-2"))
    assert alone.abs().min() > 0
    for one in others:
        torch.testing.assert_close(one, alone)


def test_homeostasis_brings_the_rate_to_its_target():
    layer = LIF(8, homeostasis=Homeostasis(0.1, 0.5))
    current = torch.rand(50, 4, 8) * 3
    for _ in range(200):
        spikes = layer(current)
    assert abs(float(spikes.detach().mean()) - 0.1) < 0.02
    before = layer.raised.clone()
    layer.eval()(current)
    assert torch.equal(layer.raised, before)
