"""How fast a layer of leaky integrate-and-fire neurons goes forward and backward, against SpikingJelly and snnTorch.

Ours is the fused kernel by way of `leaky`'s interface; SpikingJelly's LIFNode runs its multi-step in torch, snnTorch's
Leaky the loop that its users write. All get the same current [T, B, N] and gradient, have the atan surrogate and are
checked to spike alike, each in its own reset. Interleaved, medians; as many threads as torch takes. A peer that is not
installed is left out, with a warning.

Makes   a CSV: what, size, unit (milliseconds; bytes kept for the backward pass), ours, peer, peer_value, ratio (above
        1: ours is better).
"""

import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import NamedTuple

import torch
from torch import Tensor

from performance.measurement import alone, medians, row, write_rows
from pipeline import stage
from pipeline.neurons.fused import fused_leaky
from pipeline.stage import UserError

SIZES = ((16, 16, 1024), (32, 32, 512), (100, 16, 512))
DECAY = 0.5

Layer = Callable[[Tensor], Tensor]
"""current [T, B, N] -> spikes [T, B, N]"""


class Peer(NamedTuple):
    name: str
    reset: str
    layer: Layer


def ours(reset: str) -> Layer:
    decay, threshold = torch.tensor(DECAY), torch.tensor(1.0)
    return lambda current: fused_leaky(current, decay, threshold, reset)[0]


def peers() -> list[Peer]:
    """The libraries that are installed."""
    found = []
    try:
        from spikingjelly.activation_based import neuron, surrogate

        node = neuron.LIFNode(
            **{"tau": 1 / (1 - DECAY), "decay_input": False, "v_reset": None, "detach_reset": True, "step_mode": "m"},
            surrogate_function=surrogate.ATan(),
        )

        def multi_step(current: Tensor) -> Tensor:
            node.reset()
            return node(current)

        found.append(Peer(f"spikingjelly {metadata.version('spikingjelly')} LIFNode", "immediate", multi_step))
    except ModuleNotFoundError as error:
        stage.log.warning("spikingjelly is left out: package %r is not installed", error.name)
    try:
        import snntorch
        from snntorch import surrogate as slopes

        leaky = snntorch.Leaky(DECAY, spike_grad=slopes.atan())

        def loop(current: Tensor) -> Tensor:
            potential, spikes = torch.zeros_like(current[0]), []
            for one in current:
                spike, potential = leaky(one, potential)
                spikes.append(spike)
            return torch.stack(spikes)

        found.append(Peer(f"snntorch {metadata.version('snntorch')} Leaky", "delayed", loop))
    except ModuleNotFoundError as error:
        stage.log.warning("snntorch is left out: package %r is not installed", error.name)
    return found


def both_ways(layer: Layer, current: Tensor, by: Tensor) -> Tensor:
    current = current.detach().requires_grad_()
    layer(current).backward(by)
    assert current.grad is not None
    return current.grad


def kept(layer: Layer, current: Tensor) -> int:
    """Bytes that autograd keeps of a forward pass for the backward one, the current's own left out."""
    storages: dict[int, int] = {}

    def pack(one: Tensor) -> Tensor:
        storages[one.untyped_storage().data_ptr()] = one.untyped_storage().nbytes()
        return one

    current = current.detach().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda one: one):
        layer(current)
    storages.pop(current.untyped_storage().data_ptr(), None)
    return sum(storages.values())


def measure(size: tuple[int, int, int], runs: int, others: Sequence[Peer]) -> list[dict[str, str]]:
    """Both ways and forward only against each peer, or by itself where there is none, and what is kept between."""
    draw = torch.Generator().manual_seed(0)
    current, by = torch.rand(size, generator=draw), torch.rand(size, generator=draw)
    shape, found = " x ".join(map(str, size)), []
    for name, reset, layer in others:
        if not torch.equal(layer(current), ours(reset)(current)):
            raise UserError(f"the spikes of {name} are not ours: nothing to compare")
        mine = ours(reset)
        ours_s, other_s = medians(
            runs, shape, lambda m=mine: both_ways(m, current, by), lambda o=layer: both_ways(o, current, by)
        )
        found.append(row("LIF forward and backward", shape, "ms", ours_s * 1e3, name, other_s * 1e3, 3, less=True))
        with torch.no_grad():
            ours_s, other_s = medians(runs, shape, lambda m=mine: m(current), lambda o=layer: o(current))
        found.append(row("LIF forward", shape, "ms", ours_s * 1e3, name, other_s * 1e3, 3, less=True))
        found.append(
            row("LIF kept for backward", shape, "bytes", kept(mine, current), name, kept(layer, current), less=True)
        )
    if not others:
        (ours_s,) = medians(runs, shape, lambda: both_ways(ours("immediate"), current, by))
        found.append(alone("LIF forward and backward", shape, "ms", ours_s * 1e3, 3))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--runs", type=int, default=21, help="runs of each, at least five for a median worth its name")
    parser.add_argument("--output", required=True, help="CSV file to write")
    args = parser.parse_args(argv)
    if args.runs < 1:
        raise UserError("--runs must be at least 1")
    others = peers()
    write_rows(args.output, [one for size in SIZES for one in measure(size, args.runs, others)])


if __name__ == "__main__":
    sys.exit(stage.run(main))
