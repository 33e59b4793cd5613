"""Model and loss as one module, so that DistributedDataParallel sees all that a loss does with the model, whatever it
calls of it. The objective is the sum of weight times part; a part of weight 0 is left out.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.stage import UserError
from pipeline.training.task import Context, Loss


class Objective(nn.Module):
    """Raises UserError for a weight without a part of the loss, or a part without a weight, by name."""

    def __init__(self, model: nn.Module, loss: Loss, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.model, self.loss, self.weights = model, loss, weights
        self.counted = [name for name, weight in weights.items() if weight]

    def forward(self, rows: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """The weighted sum, and the `counted` parts, those with a weight, float64 [counted] and without gradients."""
        parts = self.loss(self.model, rows, context)
        if differing := sorted(parts.keys() ^ self.weights.keys()):
            of = "weight has no part of the loss" if differing[0] in self.weights else "part of the loss has no weight"
            raise UserError(f"settings: weights.{differing[0]}: this {of}; the parts are {', '.join(sorted(parts))}")
        values = {name: part if isinstance(part := parts[name], Tensor) else part() for name in self.counted}
        total = sum(self.weights[name] * value for name, value in values.items())
        assert isinstance(total, Tensor)
        return total, torch.stack([value.detach().double() for value in values.values()])
