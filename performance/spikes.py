"""How fast phase and NAF codes are encoded and decoded, against the encoders of snnTorch and SpikingJelly.

Ours is the codec as it runs: float32 rows are checked, calibrated, rounded and packed to bits, and come back as float32
rows. The peers are handed values on 0 .. 1 already, as many, and make float32 spikes [steps, rows, values], nothing
packed; `spikes as float32` is ours unpacked to that too. They are snnTorch's `spikegen` by rate and by latency, and
SpikingJelly's `WeightedPhaseEncoder`, whose spikes are those of the phase code, which is checked. None has a decoder:
decoding is set against the least that one would write for such spikes, their weighted sum over the steps. One thread,
interleaved, medians. A peer that is not installed is left out, with a warning (`make spike-peers` installs them).

Makes   a CSV: what, size, unit (bytes of float32 values a second), ours, peer, peer_value, ratio (above 1: ours is
        faster; empty: there is no peer).
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from performance.measurement import alone, medians, row, write_rows
from pipeline import codec, stage
from pipeline.stage import UserError

DIMS = 384
STEPS = (8, 16)
PHASE = "WeightedPhaseEncoder"

Encode = Callable[[torch.Tensor, int], torch.Tensor]
"""(values [n, d] on 0 .. 1 - 2^-T, T) -> spikes [T, n, d]"""


def peers() -> dict[str, Encode]:
    """The encoders that are installed, by name and version."""
    found: dict[str, Encode] = {}
    try:
        from snntorch import spikegen

        name = f"snntorch {metadata.version('snntorch')} spikegen"
        found[f"{name}.rate"] = lambda u, steps: spikegen.rate(u, num_steps=steps)
        found[f"{name}.latency"] = lambda u, steps: spikegen.latency(u, num_steps=steps, normalize=True, linear=True)
    except ModuleNotFoundError as error:
        stage.log.warning("snntorch is left out: package %r is not installed", error.name)
    try:
        from spikingjelly.activation_based.encoding import WeightedPhaseEncoder

        name = f"spikingjelly {metadata.version('spikingjelly')} {PHASE}"
        found[name] = lambda u, steps: WeightedPhaseEncoder(steps).single_step_encode(u)
    except ModuleNotFoundError as error:
        stage.log.warning("spikingjelly is left out: package %r is not installed", error.name)
    return found


def measure(module: str, steps: int, rows: int, runs: int, others: Mapping[str, Encode]) -> list[dict[str, str]]:
    """Encoding against each peer, or by itself where there is none; decoding against the weighted sum."""
    x = np.random.default_rng(0).standard_normal((rows, DIMS)).astype(np.float32)
    ours = codec.build(module, f"{module}_{steps}", 0).fit(x)
    codes, size, encoding = ours.encode(x), f"{rows} x {DIMS} values, {steps} steps", f"{module} encoding"
    u = torch.from_numpy(ours.integers(x) - ours.lowest).to(torch.float32) / 2**steps
    dense = torch.from_numpy(ours.spike_train(codes).to_dense())
    for name, encode in others.items():
        if module == "phase" and name.endswith(PHASE) and not torch.equal(encode(u, steps), dense):
            raise UserError(f"the spikes of {name} are not those of {ours.name}: nothing to compare")
    packed_s, dense_s, *others_s = medians(
        *(runs, encoding, lambda: ours.encode(x), lambda: ours.spike_train(ours.encode(x)).to_dense()),
        *(lambda encode=encode: encode(u, steps) for encode in others.values()),
    )
    found = []
    for what, ours_s in ((encoding, packed_s), (f"{encoding}, spikes as float32", dense_s)):
        against = [
            row(what, size, "bytes/s", x.nbytes / ours_s, name, x.nbytes / other_s)
            for name, other_s in zip(others, others_s, strict=True)
        ]
        found += against or [alone(what, size, "bytes/s", x.nbytes / ours_s)]
    weights = 2.0 ** torch.arange(steps - 1, -1, -1)
    step, zero = (torch.from_numpy(ours.shared[name]) for name in ("step", "zero"))
    decoding, least = f"{module} decoding", f"torch {torch.__version__} weighted sum of float32 spikes"
    ours_s, other_s = medians(
        *(runs, decoding, lambda: ours.decode(codes), lambda: torch.tensordot(weights, dense, 1) * step + zero)
    )
    return [*found, row(decoding, size, "bytes/s", x.nbytes / ours_s, least, x.nbytes / other_s)]


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--rows", type=int, default=4000, help="vectors of 384 values")
    parser.add_argument("--runs", type=int, default=7, help="runs of each, at least five for a median worth its name")
    parser.add_argument("--output", required=True, help="CSV file to write")
    args = parser.parse_args(argv)
    if args.runs < 1 or args.rows < 1:
        raise UserError("--runs and --rows must be at least 1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1), torch.no_grad():
            others = peers()
            rows = [
                one for steps in STEPS for module in ("phase", "naf")
                for one in measure(module, steps, args.rows, args.runs, others)
            ]  # fmt: skip
    finally:
        torch.set_num_threads(threads)
    write_rows(args.output, rows)


if __name__ == "__main__":
    sys.exit(stage.run(main))
