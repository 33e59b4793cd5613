"""The dense autoencoder, d values to k and back: it begins as principal components and learns what those cannot.

    z = W_e x + b_e,   x' = W_d z + b_d + W_o relu(W_h z + b_h)

W_e, W_d and their biases begin as the first k principal components of the rows, whitened, and W_o as 0: step 0 has
their error, the least that a linear autoencoder can reach (Baldi and Hornik 1989). The last term, d wide, is what is
trained beyond it. Parts of the loss: `reconstruction` (mean |x - x'|^2), `similarity` and `decorrelation` (see
`terms`). Held out: `relative_mse`.

    task(inputs, options) -> a model for pipeline/training/run.py    options: `code` (k), `split_seed` (0)
    fit(x, code, seed)    -> weights by name, for the codec of this name (pipeline/codecs/autoencoder.py)

The width and the codec's rate were chosen by the error of validation rows, after fits on the fit rows alone, of
`spacy_md`, `minilm` and both together, k = 64, splits 0 and 1. Of the widths d / 2, d and 2 d each doubling takes 3 to
8 % off it; with d all that is shared stays below 4 d (d + 256) bytes, up to k = 84. Of rates from 0.0015 to 0.04 the
best one falls as d grows (Adam moves each weight alike, so a sum over d of them d times as far); of 2, 3 and 4 / d the
mean error is least with 3 / d.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.split import check_rows, split
from pipeline.stage import UserError, check_keys
from pipeline.store import open_parquet
from pipeline.training import random_state, terms
from pipeline.training.arrays import Rows
from pipeline.training.loop import train
from pipeline.training.settings import Settings
from pipeline.training.shards import Vectors
from pipeline.training.task import Array, Context, HeldOut, Part, Source, Task

HELD_OUT = 10  # one row in so many chooses the codec's best step and is not trained on
RATE = 3.0  # the codec's learning rate, times d
SETTINGS: dict[str, Any] = {
    **{"steps": 500, "warmup_steps": 20, "weights": {"reconstruction": 1, "similarity": 0, "decorrelation": 0}},
    **{"metric": "relative_mse", "evaluate_every": 50, "patience": 4, "checkpoint_every": 500, "log_every": 50},
}


class Autoencoder(nn.Module):
    """x [n, d] to x' [n, d] over z [n, k]."""

    def __init__(self, dims: int, code: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(dims, code), nn.Linear(code, dims)
        self.hidden, self.output = nn.Linear(code, dims), nn.Linear(dims, dims, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encoder(x))

    def decode(self, z: Tensor) -> Tensor:
        """x' [n, d] of z [n, k]."""
        return self.decoder(z) + self.output(self.hidden(z).relu())

    @torch.no_grad()
    def begin(self, mean: Array, covariance: Array) -> None:
        """Take the principal components of rows with these moments, [d] and [d, d], as the linear part, and nothing
        beside it."""
        k = self.encoder.out_features
        variances, axes = np.linalg.eigh(covariance)
        deviations, axes = np.sqrt(np.maximum(variances[::-1][:k], 0)), axes[:, ::-1][:, :k]
        known = deviations > 1e-6 * max(deviations[0], np.finfo(np.float32).tiny)
        inverse = np.divide(1, deviations, out=np.zeros(k), where=known)  # fewer rows than k: codes that say nothing
        weight = (axes * inverse).T
        self.encoder.weight.copy_(torch.from_numpy(weight))
        self.encoder.bias.copy_(torch.from_numpy(-weight @ mean))
        self.decoder.weight.copy_(torch.from_numpy(axes * deviations))
        self.decoder.bias.copy_(torch.from_numpy(mean))
        self.output.weight.zero_()


def moments(data: Source) -> tuple[Array, Array]:
    """Mean [d] and covariance [d, d], float64, of the rows of all pieces, of which one is held at a time."""
    pieces, count = range(len(data.sizes)), sum(data.sizes)
    mean = sum(data.read(piece).sum(axis=0, dtype=np.float64) for piece in pieces) / count
    assert isinstance(mean, np.ndarray)

    def scatter(piece: int) -> Array:
        centred = data.read(piece) - mean
        return centred.T @ centred

    return mean, np.asarray(sum(map(scatter, pieces))) / count


def loss(model: nn.Module, x: Tensor, context: Context) -> dict[str, Part]:
    """The three parts for rows x [n, d]."""
    assert isinstance(model, Autoencoder)
    z = model.encoder(x)
    return {
        "reconstruction": (model.decode(z) - x).square().sum(1).mean(),
        "similarity": lambda: terms.similarity(x, z, context.gather),
        "decorrelation": lambda: terms.decorrelation(z, context.gather),
    }


def relative_mse(x: Array, mean: Array) -> HeldOut:
    """sum |x - x'|^2 / sum |x - mean|^2 over rows x [n, d]; where these are all the mean, the numerator."""
    spread = float(np.square(x - mean, dtype=np.float64).sum()) or 1.0

    def measure(model: nn.Module) -> dict[str, float]:
        weight = next(model.parameters())
        rows = torch.from_numpy(x).to(weight)
        return {"relative_mse": float((model(rows) - rows).double().square().sum()) / spread}

    return measure


def task(inputs: Sequence[Path], options: Mapping[str, Any]) -> Task:
    """The unit rows of one embedding table: the fit rows of the split are trained on, the validation rows held out.

    Raises UserError for anything but one embedding table, for unknown options, and for a code that is not a whole
    number from 1 on, or is as long as the rows.
    """
    if len(inputs) != 1:
        raise UserError(f"the autoencoder takes one embedding table, not {len(inputs)}")
    check_keys("options", options, ["split_seed"], ["code"])
    code = options["code"]
    if type(code) is not int or code < 1:
        raise UserError(f"options: code must be a whole number of at least 1, not {code!r}")
    count = open_parquet(inputs[0], ["vector"]).metadata.num_rows
    check_rows(count, str(inputs[0]))
    parts = split(count, options.get("split_seed", 0))
    data, validation = Vectors(inputs, parts.fit), Vectors(inputs, parts.validation)
    if code >= data.dims:
        raise UserError(f"options: code {code} leaves nothing out of the {data.dims} dimensions of {inputs[0]}")
    mean, covariance = moments(data)
    held_out = np.concatenate([validation.read(piece) for piece in range(len(validation.sizes))])
    model = Autoencoder(data.dims, code)
    model.begin(mean, covariance)
    return Task(model, data, loss, relative_mse(held_out, mean))


def fit(x: Array, code: int, seed: int) -> dict[str, Array]:
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
    data = Rows(centred[order[held:]] if len(x) > 1 else centred)
    threads, before = torch.get_num_threads(), random_state.capture()
    try:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        model = Autoencoder(x.shape[1], code)
        model.begin(*moments(data))
        chosen = {"batch": min(256, data.sizes[0]), "learning_rate": RATE / x.shape[1], "seed": seed}
        with tempfile.TemporaryDirectory() as folder:
            held_out = relative_mse(centred[order[:held]], np.zeros(x.shape[1]))
            train(model, data, loss, Settings(**SETTINGS, **chosen), folder, held_out)
    finally:
        torch.set_num_threads(threads)
        random_state.restore(before)
    weights = {name: value.detach().numpy().copy() for name, value in model.named_parameters()}
    return {"mean": mean.astype(np.float32), "scale": np.float32(scale), **weights}
