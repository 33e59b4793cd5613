"""How fast a layer of leaky integrate-and-fire neurons goes forward and backward, against SpikingJelly and snnTorch.

Each is used as its users do: ours is the layer `LIF` (fused kernel), SpikingJelly's node runs its multi-step and is
reset before each pass, snnTorch's Leaky is called in the loop that its users write. Like is measured against like:
with decay and threshold fixed (LIFNode, Leaky), and with gradients of them (ParametricLIFNode, which learns one decay
and no threshold; Leaky with learn_beta and learn_threshold, one of each; ours learns both for each neuron). All get the
same current [T, B, N] and gradient, have the atan surrogate and are checked to spike alike, each in its own reset.
Interleaved, medians; as many threads as torch takes. Taking turns call by call, each comes with the caches that the
other has left; `ten in a row` takes turns by ten calls, as a loop over one layer does. A peer that is not installed is
left out, with a warning. On a GPU (`--device cuda`) ours is the Triton kernel and SpikingJelly takes its own; memory is
the most that is allocated beside the current, forward only.

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
from pipeline.neurons.lif import LIF
from pipeline.stage import UserError

SIZES = ((16, 16, 1024), (32, 32, 512), (100, 16, 512))
LARGE = ((32, 128, 4096), (256, 32, 4096))
"""What a GPU has to do for a millisecond or so."""
DECAY = 0.5
IN_A_ROW = 10

Layer = Callable[[Tensor], Tensor]
"""current [T, B, N] -> spikes [T, B, N]"""


class Peer(NamedTuple):
    name: str
    reset: str
    learned: bool
    layer: Layer


def ours(neurons: int, reset: str, learned: bool, device: torch.device, inplace: bool = False) -> Layer:
    return LIF(neurons, DECAY, reset=reset, learned=learned, inplace=inplace).to(device)


def peers(device: torch.device) -> list[Peer]:
    """The libraries that are installed."""
    found = []
    try:
        from spikingjelly.activation_based import functional, neuron, surrogate

        same = {"decay_input": False, "v_reset": None, "detach_reset": True, "step_mode": "m"}
        tau, slope = 1 / (1 - DECAY), surrogate.ATan()
        nodes = (
            neuron.LIFNode(tau=tau, surrogate_function=slope, **same),
            neuron.ParametricLIFNode(init_tau=tau, surrogate_function=slope, **same),
        )
        for learned, node in enumerate(one.to(device) for one in nodes):

            def multi_step(current: Tensor, node: torch.nn.Module = node) -> Tensor:
                functional.reset_net(node)
                spikes: Tensor = node(current)
                return spikes

            name = f"spikingjelly {metadata.version('spikingjelly')} {type(node).__name__}"
            found.append(Peer(name, "immediate", bool(learned), multi_step))
    except ModuleNotFoundError as error:
        stage.log.warning("spikingjelly is left out: package %r is not installed", error.name)
    try:
        import snntorch
        from snntorch import surrogate as slopes

        for learned in (False, True):
            leaky = snntorch.Leaky(DECAY, spike_grad=slopes.atan(), learn_beta=learned, learn_threshold=learned)
            leaky = leaky.to(device)

            def loop(current: Tensor, leaky: torch.nn.Module = leaky) -> Tensor:
                potential, spikes = torch.zeros_like(current[0]), []
                for one in current:
                    spike, potential = leaky(one, potential)
                    spikes.append(spike)
                return torch.stack(spikes)

            found.append(Peer(f"snntorch {metadata.version('snntorch')} Leaky", "delayed", learned, loop))
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


def allocated(layer: Layer, current: Tensor) -> int:
    """Bytes on the GPU at the height of a forward pass without gradients, what lay there before left out."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    with torch.no_grad():
        layer(current)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def waited(work: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """`work`, done when it returns: a GPU is only told what to do."""

    def whole() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return whole


def in_a_row(work: Callable[[], None]) -> Callable[[], None]:
    """`IN_A_ROW` calls of `work`."""

    def calls() -> None:
        for _ in range(IN_A_ROW):
            work()

    return calls


def alike(name: str, theirs: Tensor, mine: Tensor) -> None:
    """Raises UserError for spikes that are not ours; GPUs' kernels may round otherwise, which is said."""
    differ = (theirs != mine).float().mean().item()
    if differ and (theirs.device.type == "cpu" or differ > 1e-3):
        raise UserError(f"the spikes of {name} are not ours: nothing to compare")
    if differ:
        stage.log.warning("%s: %.2g of the spikes are not ours", name, differ)


def measure(
    size: tuple[int, int, int], runs: int, others: Sequence[Peer], device: torch.device
) -> list[dict[str, str]]:
    """Both ways and forward only against each peer, or by itself where there is none, and what memory they take."""
    draw = torch.Generator().manual_seed(0)
    current, by = (torch.rand(size, generator=draw).to(device) for _ in range(2))
    shape, where = " x ".join(map(str, size)), "" if device.type == "cpu" else f" on {device.type}"

    def both(layer: Layer) -> Callable[[], None]:
        return waited(lambda: both_ways(layer, current, by), device)

    def ahead(layer: Layer) -> Callable[[], None]:
        return waited(torch.no_grad()(lambda: layer(current)), device)

    found = []
    for name, reset, learned, layer in others:
        mine = ours(size[-1], reset, learned, device)
        alike(name, layer(current), mine(current))
        if learned:
            ours_s, other_s = medians(runs, shape, both(mine), both(layer))
            what = "learned LIF forward and backward" + where
            found.append(row(what, shape, "ms", ours_s * 1e3, name, other_s * 1e3, 3, less=True))
            continue
        for what, way in (("LIF forward and backward", both), ("LIF forward", ahead)):
            ours_s, other_s = medians(runs, shape, way(mine), way(layer))
            found.append(row(what + where, shape, "ms", ours_s * 1e3, name, other_s * 1e3, 3, less=True))
        ours_s, other_s = (s / IN_A_ROW for s in medians(runs, shape, in_a_row(both(mine)), in_a_row(both(layer))))
        what = "LIF forward and backward, ten in a row" + where
        found.append(row(what, shape, "ms", ours_s * 1e3, name, other_s * 1e3, 3, less=True))
        sizes = kept(mine, current), kept(layer, current)
        found.append(row("LIF kept for backward" + where, shape, "bytes", sizes[0], name, sizes[1], less=True))
        if device.type == "cuda":
            sizes = (allocated(mine, current), allocated(layer, current))
            found.append(row("LIF memory, forward" + where, shape, "bytes", sizes[0], name, sizes[1], less=True))
            whole = (
                current.nbytes + allocated(ours(size[-1], reset, False, device, inplace=True), current.clone()),
                current.nbytes + sizes[1],
            )
            found.append(
                row("LIF memory with current, in place" + where, shape, "bytes", whole[0], name, whole[1], less=True)
            )
    if not others:
        (ours_s,) = medians(runs, shape, both(ours(size[-1], "immediate", False, device)))
        found.append(alone("LIF forward and backward" + where, shape, "ms", ours_s * 1e3, 3))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--runs", type=int, default=21, help="runs of each, at least five for a median worth its name")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--output", required=True, help="CSV file to write")
    args = parser.parse_args(argv)
    if args.runs < 1:
        raise UserError("--runs must be at least 1")
    if args.device not in ("cpu", "cuda"):
        raise UserError(f"--device {args.device}: expected cpu or cuda")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU")
    device = torch.device(args.device)
    others, sizes = peers(device), SIZES if args.device == "cpu" else (*SIZES, *LARGE)
    write_rows(args.output, [one for size in sizes for one in measure(size, args.runs, others, device)])


if __name__ == "__main__":
    sys.exit(stage.run(main))
