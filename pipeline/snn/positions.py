"""How a spiking network is told where a token stands: nothing, a current added to the token's, or phases of attention.

none              nothing
learned           a current of its own for each place, [length, dims], learned
cpg, gray         the spikes of pipeline.spikes.positions through learned synapses: CPG-PE, Gray-PE
phase_constant    attention's heads shifted by a constant each (`attention.Phases`)
phase_fixed       phases that advance with the tokens as well
phase_learned     phases whose shifts and paces are learned
"""

import torch
from torch import Tensor, nn

from pipeline.snn.attention import Phases
from pipeline.spikes import positions
from pipeline.stage import UserError

CODES = ("cpg", "gray")
PHASES = {"phase_constant": "constant", "phase_fixed": "fixed", "phase_learned": "learned"}
KINDS = ("none", "learned", *CODES, *PHASES)


class PositionCurrent(nn.Module):
    """The current [T, tokens, dims] of places 0, 1, ... below `length`; spikes of a code are 0 / 1."""

    spikes: Tensor

    def __init__(self, kind: str, length: int, timesteps: int, dims: int) -> None:
        super().__init__()
        self.timesteps = timesteps
        if kind == "learned":
            self.table = nn.Parameter(torch.randn(length, dims) * 0.1)
            return
        spikes = torch.from_numpy(positions.table(kind, length, timesteps)).float()  # [length, T, Q]
        self.register_buffer("spikes", spikes.transpose(0, 1).contiguous(), persistent=False)
        self.synapses = nn.Linear(spikes.shape[-1], dims, bias=False)

    def forward(self, tokens: int) -> Tensor:
        if hasattr(self, "table"):
            return self.table[:tokens].expand(self.timesteps, -1, -1)
        return self.synapses(self.spikes[:, :tokens])


def current(kind: str, length: int, timesteps: int, dims: int) -> PositionCurrent | None:
    """None where nothing is added. Raises UserError for a kind that there is not, or a code that repeats itself."""
    if kind not in KINDS:
        raise UserError(f"position: {kind!r} is not one of {', '.join(KINDS)}")
    return PositionCurrent(kind, length, timesteps, dims) if kind in ("learned", *CODES) else None


def phases(kind: str, length: int, timesteps: int, heads: int) -> Phases:
    """The shifts of a block's heads: none but for the `phase_` kinds."""
    return Phases(heads, timesteps, length, PHASES.get(kind, "none"))


def parameters(kind: str, length: int, timesteps: int, dims: int, heads: int, blocks: int) -> int:
    """How many numbers are learned for a kind."""
    added = current(kind, length, timesteps, dims)
    count = sum(x.numel() for x in added.parameters()) if added else 0
    return count + blocks * sum(x.numel() for x in phases(kind, length, timesteps, heads).parameters())
