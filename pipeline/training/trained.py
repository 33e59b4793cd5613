"""A trained network's file, as `pipeline.training.run` writes it, read without trust: its header and its weights.

Whoever measures a network reads it here, builds the model that its options ask for, and says which data it has at hand.
"""

import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from torch import Tensor, nn

from pipeline.stage import UserError
from pipeline.training import checkpoint

LARGEST_SEED = 2**31 - 1  # an int32 in tables of results
UNFINISHED = "not a finished training"

Made = TypeVar("Made")


class Trained(NamedTuple):
    """What the file says: `seconds` of training, the `data`'s identity (of task.Source), `weights` by name."""

    path: Path
    module: str
    options: dict[str, Any]
    seed: int
    seconds: float
    data: str
    weights: dict[str, Tensor]

    def built(self, build: Callable[[Mapping[str, Any]], Made]) -> Made:
        """What `build` makes of the options. Raises UserError, naming the file, where `build` raises one."""
        try:
            return build(self.options)
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from None

    def load(self, model: nn.Module) -> None:
        """Give a model these weights, to be measured. Raises UserError for weights of another architecture."""
        checkpoint.load_model(self.path, model, self.weights)
        model.eval()

    def check_data(self, identity: str, *given: Path) -> None:
        """Raises UserError, naming the files, unless the network was trained on data of this identity, of `given`."""
        if self.data != identity:
            raise UserError(f"{self.path}: trained on other data than {' and '.join(map(str, given))}")


def read(path: Path, modules: Collection[str]) -> Trained:
    """A network of one of the modules. Raises UserError, naming the file and the key or tensor, for what is no
    checkpoint, of another module, of no finished training, and for weights that are no finite floating-point numbers.
    """
    saved = checkpoint.read(path)
    if (module := saved.facts.get("module")) not in list(modules):  # a list compares what cannot be hashed as well
        raise UserError(f"{path}: a network of {module}, not of {' or '.join(modules)}")

    def fact(key: str, *kinds: type) -> Any:
        return checkpoint.fact(path, saved.facts, UNFINISHED, key, *kinds)

    options, seed, seconds = fact("options", dict), fact("settings.seed", int), fact("result.seconds", int, float)
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"{path}: {UNFINISHED}: settings.seed is {seed}, not from 0 to {LARGEST_SEED}")
    if not (math.isfinite(seconds) and seconds >= 0):
        raise UserError(f"{path}: {UNFINISHED}: result.seconds is {seconds}, no duration")
    data, weights = fact("data", str), saved.part("model")
    for name, x in weights.items():
        if not x.is_floating_point():
            raise UserError(f"{path}: {name} is {x.dtype}: no weights")
        if not x.float().isfinite().all():  # networks are measured in float32
            raise UserError(f"{path}: {name} holds NaN or infinity: no weights")
    return Trained(path, str(module), options, seed, float(seconds), data, weights)
