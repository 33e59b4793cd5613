"""An autoencoder that begins as principal component analysis and learns what that cannot: its decoder is not linear.

    z = W_e x + b_e,   x' = W_d z + b_d + W_o relu(W_h z + b_h)

W_e, W_d and b begin as the first k principal components of the rows, whitened, and W_o as 0: step 0 has their error,
the least that a linear autoencoder can reach (Baldi and Hornik 1989). The last term is what is trained beyond it.

    fit(x, code, hidden, seed) -> weights by name
"""

import tempfile
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.training import random_state
from pipeline.training.arrays import Rows
from pipeline.training.loop import train
from pipeline.training.settings import Settings
from pipeline.training.task import Array, Context, HeldOut

HELD_OUT = 10  # one row in so many chooses the best step and is not trained on
SETTINGS: dict[str, Any] = {
    **{"steps": 500, "batch": 256, "learning_rate": 3e-3, "warmup_steps": 20, "weights": {"reconstruction": 1}},
    **{"metric": "error", "evaluate_every": 50, "patience": 4, "checkpoint_every": 500, "log_every": 50},
}


class ResidualAutoencoder(nn.Module):
    """x [n, d] to x' [n, d] over z [n, k]."""

    def __init__(self, dims: int, code: int, hidden: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(dims, code), nn.Linear(code, dims)
        self.hidden, self.output = nn.Linear(code, hidden), nn.Linear(hidden, dims, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        z = self.encoder(x)
        return self.decoder(z) + self.output(self.hidden(z).relu())

    @torch.no_grad()
    def begin(self, x: Array) -> None:
        """Take the principal components of centred rows x [n, d] as the linear part, and nothing beside it."""
        k = self.encoder.out_features
        variances, axes = np.linalg.eigh(np.einsum("ni,nj->ij", x, x, dtype=np.float64, optimize=True) / len(x))
        deviations, axes = np.sqrt(np.maximum(variances[::-1][:k], 0)), axes[:, ::-1][:, :k]
        known = deviations > 1e-6 * max(deviations[0], np.finfo(np.float32).tiny)
        inverse = np.divide(1, deviations, out=np.zeros(k), where=known)  # fewer rows than k: codes that say nothing
        self.encoder.weight.copy_(torch.from_numpy((axes * inverse).T.copy()))
        self.decoder.weight.copy_(torch.from_numpy(axes * deviations))
        for zero in (self.encoder.bias, self.decoder.bias, self.output.weight):
            zero.zero_()


def loss(model: nn.Module, x: Tensor, context: Context) -> dict[str, Tensor]:
    """Mean |x - x'|^2 over rows x [n, d]."""
    return {"reconstruction": (model(x) - x).square().sum(1).mean()}


def error(x: Array) -> HeldOut:
    """The same over rows x [n, d] that are held out."""
    rows = torch.from_numpy(x)
    return lambda model: {"error": float((model(rows) - rows).square().sum(1).double().mean())}


def fit(x: Array, code: int, hidden: int, seed: int) -> dict[str, Array]:
    """Train on rows x float32 [n, d], one thread on the CPU; the same rows and seed give the same weights.

    Returns `mean` [d], `scale` [] and the model's weights by name, for rows (x - mean) / scale. Global random
    generators are left as they were.
    """
    mean = x.mean(axis=0, dtype=np.float64)
    centred = x - mean
    scale = float(np.sqrt(np.square(centred).sum(axis=1).mean())) or 1.0  # constant rows: nothing to scale
    centred = (centred / scale).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(x))
    held = max(1, len(x) // HELD_OUT)
    rows = centred[order[held:]] if len(x) > 1 else centred
    threads, before = torch.get_num_threads(), random_state.capture()
    try:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        model = ResidualAutoencoder(x.shape[1], code, hidden)
        model.begin(rows)
        settings = Settings(**{**SETTINGS, "batch": min(256, len(rows)), "seed": seed})
        with tempfile.TemporaryDirectory() as folder:
            train(model, Rows(rows), loss, settings, folder, error(centred[order[:held]]))
    finally:
        torch.set_num_threads(threads)
        random_state.restore(before)
    weights = {name: value.detach().numpy().copy() for name, value in model.named_parameters()}
    return {"mean": mean.astype(np.float32), "scale": np.float32(scale), **weights}
