"""The dense autoencoder: d values to k and back, the continuous baseline of learned codes.

    z = W_e x + b_e,   x' = W_d z + b_d          (with `hidden`: a layer of that width and GELU before either)

Without a hidden layer the best that it can reach is known: the error of the first k principal components (Baldi and
Hornik 1989). That makes it the trainer's first subject.

Options: `code` (k), `hidden` (null: none), `split_seed` (0). Input: one embedding table; rows are made unit, the fit
rows of the split are trained on. Parts of the loss: `reconstruction` (mean |x - x'|^2), `similarity` and
`decorrelation` (see `terms`). Held out: `relative_mse` on the validation rows, against the mean of the fit rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.split import check_rows, split
from pipeline.stage import UserError, check_keys
from pipeline.store import open_parquet
from pipeline.training import terms
from pipeline.training.shards import Vectors
from pipeline.training.task import Array, Context, HeldOut, Part, Task


class Autoencoder(nn.Module):
    """x [n, d] to x' [n, d] over z [n, k]."""

    def __init__(self, dims: int, code: int, hidden: int | None = None) -> None:
        super().__init__()
        self.encoder = _layers(dims, hidden, code)
        self.decoder = _layers(code, hidden, dims)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


def _layers(inputs: int, hidden: int | None, outputs: int) -> nn.Module:
    if hidden is None:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


def loss(model: nn.Module, x: Tensor, context: Context) -> dict[str, Part]:
    """The three parts for rows x [n, d]."""
    assert isinstance(model, Autoencoder)
    z = model.encoder(x)
    return {
        "reconstruction": (model.decoder(z) - x).square().sum(1).mean(),
        "similarity": lambda: terms.similarity(x, z, context.gather),
        "decorrelation": lambda: terms.decorrelation(z, context.gather),
    }


def relative_mse(x: Array, mean: Array) -> HeldOut:
    """sum |x - x'|^2 / sum |x - mean|^2 over rows x [n, d]."""
    spread = float(np.square(x - mean, dtype=np.float64).sum())

    def measure(model: nn.Module) -> dict[str, float]:
        weight = next(model.parameters())
        rows = torch.from_numpy(x).to(weight)
        return {"relative_mse": float((model(rows) - rows).double().square().sum()) / spread}

    return measure


def task(inputs: Sequence[Path], options: Mapping[str, Any]) -> Task:
    """Raises UserError for anything but one embedding table, for unknown options and for widths below 1."""
    if len(inputs) != 1:
        raise UserError(f"the autoencoder takes one embedding table, not {len(inputs)}")
    check_keys("options", options, ["hidden", "split_seed"], ["code"])
    for name in ("code", "hidden"):
        value = options.get(name)
        if not (name == "hidden" and value is None) and (not isinstance(value, int) or value < 1):
            raise UserError(f"options: {name} must be a whole number of at least 1, not {value!r}")
    count = open_parquet(inputs[0], ["vector"]).metadata.num_rows
    check_rows(count, str(inputs[0]))
    parts = split(count, options.get("split_seed", 0))
    data, validation = Vectors(inputs, parts.fit), Vectors(inputs, parts.validation)
    total = sum(data.read(piece).sum(0, dtype=np.float64) for piece in range(len(data.sizes)))
    held_out = np.concatenate([validation.read(piece) for piece in range(len(validation.sizes))])
    model = Autoencoder(data.dims, options["code"], options.get("hidden"))
    return Task(model, data, loss, relative_mse(held_out, total / len(parts.fit)))
