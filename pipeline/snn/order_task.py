"""A task that only order solves: which of two marked tokens came first.

A sequence is `length` tokens drawn evenly from `fillers`, two marks A and B at two different places drawn evenly, and
at its end a question. The answer, read behind the question, is the first of the two marks: chance is 1/2. One block of
attention without a decay and without a position code sees the tokens before the question as a bag, in which the two
answers are the same: it cannot be better than chance, whatever it learns.

Inputs: none that are read, as samples are made by `seed`. Options: `language.How`, and `seed`, `samples`, `fillers`.
Part of the loss: `nats`; held out: `accuracy`, and `rate_<layer>`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipeline.snn import language
from pipeline.snn.activity import recorded, watch
from pipeline.snn.spikformer import Spikformer
from pipeline.stage import UserError
from pipeline.training.arrays import Rows
from pipeline.training.task import Array, Context, Task

MARKS = (0, 1)
QUESTION = 2
FIRST_FILLER = 3
HELD_OUT = 1024
OPTIONS = {"seed": 0, "samples": 4096, "fillers": 8}


def samples(count: int, length: int, fillers: int, seed: int) -> Array:
    """int64 [count, length + 1]: `length` tokens, the last of them the question, and the answer, 0 or 1.

    Raises UserError for less than the two marks and the question.
    """
    if length < 3:
        raise UserError(f"options: context is {length}: two marks and a question are 3 tokens")
    rng = np.random.default_rng(seed)
    rows = rng.integers(FIRST_FILLER, FIRST_FILLER + fillers, (count, length + 1))
    rows[:, -2] = QUESTION
    places = np.sort(rng.permuted(np.tile(np.arange(length - 1), (count, 1)), axis=1)[:, :2], axis=1)
    answer = rng.integers(0, 2, count)
    rows[np.arange(count), places[:, 0]] = answer
    rows[np.arange(count), places[:, 1]] = 1 - answer
    rows[:, -1] = answer
    return rows


def answers(model: nn.Module, rows: Tensor) -> Tensor:
    """Logits [b, 2] of the marks behind the question, for rows int64 [b, length + 1]."""
    logits: Tensor = model(rows[:, :-1])[:, -1, : len(MARKS)]
    return logits


def loss(dead_layers: str) -> Any:
    """Part `nats`: the mean of -ln p of the answer."""

    def parts(model: nn.Module, rows: Tensor, context: Context) -> Mapping[str, Tensor]:
        with recorded(model) as rates:
            value = cross_entropy(answers(model, rows), rows[:, -1])
        if context.step % language.WATCH_EVERY == 0:
            watch(model, rates, dead_layers, context)
        return {"nats": value}

    return parts


def accuracy(rows: Array) -> Any:
    """Share of rows int64 [n, length + 1] whose answer is right; and the spike rate of each layer."""

    def measure(model: nn.Module) -> dict[str, float]:
        given = torch.from_numpy(rows).to(next(model.parameters()).device)
        with recorded(model) as rates:
            right = (answers(model, given).argmax(-1) == given[:, -1]).double().mean()
        return {"accuracy": float(right), **{f"rate_{name}": float(rate) for name, rate in rates.items()}}

    return measure


def task(inputs: Sequence[Path], options: Mapping[str, Any]) -> Task:
    """Raises UserError as `language.options`, and for a seed, samples or fillers that are no such numbers."""
    own = {name: options.get(name, default) for name, default in OPTIONS.items()}
    for name, value in own.items():
        if type(value) is not int or value < (name != "seed"):
            raise UserError(f"options: {name} must be a whole number of at least {int(name != 'seed')}, not {value!r}")
    how = language.options({name: value for name, value in options.items() if name not in OPTIONS})
    model = Spikformer(FIRST_FILLER + own["fillers"], how)
    train = samples(own["samples"], how.context, own["fillers"], 2 * own["seed"])
    held = samples(HELD_OUT, how.context, own["fillers"], 2 * own["seed"] + 1)
    return Task(model, Rows(train), loss(how.dead_layers), accuracy(held))
