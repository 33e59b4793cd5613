"""What the trainer is tested on: small models whose losses need the whole batch, and losses that go wrong.

python -m subjects <folder>       trains all of `AGREEING` into folder/<name>, in as many processes as there are
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline import stage
from pipeline.stage import UserError
from pipeline.training import autoencoder, matryoshka
from pipeline.training.distributed import Processes, joined
from pipeline.training.loop import train
from pipeline.training.matryoshka import Start
from pipeline.training.settings import Settings
from pipeline.training.task import Task


class Rows:
    """An array as a source of pieces."""

    def __init__(self, array, pieces=3, identity="rows"):
        self.parts, self.identity = np.array_split(array, pieces), identity
        self.sizes = [len(part) for part in self.parts]

    def read(self, piece):
        return self.parts[piece]


def vectors(rows, dims, dtype=np.float32):
    """Rows of a decaying spectrum, of unit length."""
    x = np.random.default_rng(1).standard_normal((rows, dims)) / np.sqrt(1 + np.arange(dims))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(dtype)


def embedder_start():
    """Components of `vectors(200, 24)` by decaying deviation, of up to 3 bits each, cells of equal width."""
    x = vectors(200, 24)
    mean = x.mean(axis=0)
    centred = x - mean
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    deviations = np.sqrt(np.square(centred @ axes.T).mean(axis=0))
    sizes, widths = [24, 40, 72], np.array([[1] * 24, [2] * 16 + [1] * 8, [3] * 24])
    cuts, values = np.full((3, 24, 7), np.inf, np.float32), np.zeros((3, 24, 8), np.float32)
    for which, component in np.ndindex(3, 24):
        count = 2 ** widths[which, component]
        edges = np.linspace(-2, 2, count + 1)
        cuts[which, component, : count - 1] = edges[1:-1]
        values[which, component, :count] = (edges[1:] + edges[:-1]) / 2
    forward, backward = (axes / deviations[:, None]).T, axes * deviations[:, None]
    errors = np.array([0.3, 0.2, 0.05], np.float32) * np.square(centred).sum(1).mean()
    used = [24, 24, 24]
    return Start(mean, backward, sizes, used, errors, float(np.square(centred).sum(1).mean()), forward, cuts, values)


def train_autoencoder(processes, folder, **changed):
    torch.manual_seed(0)
    model, data = autoencoder.Autoencoder(40, 8), Rows(vectors(300, 40))
    model.begin(*autoencoder.moments(data))
    weights = {"reconstruction": 1, "similarity": 0.5, "decorrelation": 0.1}
    settings = Settings(**{"steps": 100, "batch": 64, "weights": weights, "log_every": 1, "clip_norm": 0.5, **changed})
    return model, train(model, data, autoencoder.loss, settings, folder, processes=processes)


def train_embedder(processes, folder, **changed):
    """All parts of the loss, dropout, an encoder that learns, accumulated parts."""
    torch.manual_seed(0)
    model = matryoshka.Embedder(embedder_start(), matryoshka.How(16, encoder_rate=0.1, dropout=0.3))
    weights = {"reconstruction": 1, "similarity": 0.5, "ranking": 1, "balance": 0.1, "decorrelation": 0.1}
    chosen = {"steps": 20, "batch": 48, "weights": weights, "precision": "float64", "log_every": 1, "accumulate": 2}
    settings = Settings(**{**chosen, "learning_rate": 0.01, **changed})
    return model, train(model, Rows(vectors(200, 24)), matryoshka.loss, settings, folder, processes=processes)


AGREEING = {"autoencoder": train_autoencoder, "embedder": train_embedder}


class Noisy(nn.Module):
    """Every generator has its say, so that a run that goes on needs the states of all."""

    def __init__(self, dims=16):
        super().__init__()
        self.linear, self.dropout = nn.Linear(dims, dims), nn.Dropout(0.3)

    def forward(self, x):
        drawn = random.random() + np.random.standard_normal()  # noqa: NPY002
        return self.linear(self.dropout(x)) * (1 + 0.01 * drawn)


def task(_inputs, options):
    """A noisy model on rows. FAULT, `<what> <step> <process>`, happens there; each step waits PAUSE_S."""
    fault, at, rank = os.environ.get("FAULT", "none 0 0").split()

    def loss(model, x, context):
        time.sleep(float(os.environ.get("PAUSE_S", 0)))
        here = os.environ.get("RANK", "0") == rank and context.step == int(at)
        if here and fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if here and fault == "refuse":
            raise UserError("the sky is down")
        if here and fault == "bug":
            raise ZeroDivisionError("a fault in the loss")
        error = (model(x) - x).square().mean()
        return {"error": error, "size": (-error).log() if here and fault == "nan" else x.square().mean() * error}

    def held_out(model):
        return {"error": float((model(torch.from_numpy(x).to(next(model.parameters()))) - torch.from_numpy(x)).norm())}

    x = vectors(options.get("rows", 100), 16)
    return Task(Noisy(), Rows(x), loss, held_out)


def main(argv=None):
    (folder,) = sys.argv[1:] if argv is None else argv
    with joined("cpu") as processes:
        for name, subject in AGREEING.items():
            model, _ = subject(processes, Path(folder, name))
            if processes.rank == 0:
                np.savez(Path(folder, f"{name}.npz"), **{key: x.numpy() for key, x in model.state_dict().items()})


def alone(folder):
    """The same in this process."""
    return {name: subject(Processes(), Path(folder, name))[0] for name, subject in AGREEING.items()}


if __name__ == "__main__":
    sys.exit(stage.run(main))
