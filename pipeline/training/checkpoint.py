"""Checkpoints: all that training needs to go on as if it had never stopped, in one safetensors file, atomic.

Tensors are `model.<name>`, `optimizer.<parameter>.<what>` and `random.<process>.<generator>`; the rest is JSON in the
header. Nothing that is loaded runs code. A checkpoint knows the configuration it was made with, and another is refused.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.stage import UserError
from pipeline.store import atomic_file


class Checkpoint(NamedTuple):
    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose name begins with `prefix.`, without it."""
        return {name.removeprefix(f"{prefix}."): x for name, x in self.tensors.items() if name.startswith(f"{prefix}.")}


def write(path: str | Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors, wherever they are, and facts. Tensors that share memory (tied weights) are stored once each."""
    copies = {name: x.detach().cpu().clone(memory_format=torch.contiguous_format) for name, x in tensors.items()}
    with atomic_file(path) as temporary:
        save_file(copies, temporary, metadata={"checkpoint": json.dumps(facts, sort_keys=True)})


def read(path: str | Path) -> Checkpoint:
    """Raises UserError, naming the file, if it is not a whole checkpoint."""
    if Path(path).is_dir():  # opening it would say: no such device
        raise UserError(f"{path}: is a folder, not a checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["checkpoint"])
            if not isinstance(facts, dict):
                raise TypeError(f"its header is a {type(facts).__name__}, not an object")
            return Checkpoint({name: file.get_tensor(name) for name in file.keys()}, facts)  # noqa: SIM118
    except (OSError, SafetensorError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a whole checkpoint ({type(error).__name__}: {error})") from None


def fact(path: Path, facts: Mapping[str, Any], unless: str, key: str, *kinds: type) -> Any:
    """The value of a key of the header, `a.b` for one within another, of one of the types (of any if none is named).

    Raises UserError that names the file and the key, and says what the file is then: `unless`.
    """
    found: Any = facts
    for name in key.split("."):
        if not isinstance(found, Mapping) or name not in found:
            raise UserError(f"{path}: {unless} (no {key})")
        found = found[name]
    if kinds and type(found) not in kinds:
        raise UserError(f"{path}: {unless} ({key} is {found!r})")
    return found


def load_model(path: Path, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a model weights of the file. Raises UserError, naming the tensor, for those of another architecture."""
    expected = {name: list(x.shape) for name, x in model.state_dict().items()}
    found = {name: list(x.shape) for name, x in weights.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            now, then = expected.get(name, "absent"), found.get(name, "absent")
            raise UserError(f"{path}: of another architecture: {name} is {then}, expected {now}")
    model.load_state_dict(weights)


def tensors_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, random_states: Sequence[Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """All tensors of a run by name; `random_states` is a process each."""
    found = {f"model.{name}": x for name, x in model.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{number}.{key}": x for key, x in state.items()}
    for rank, state in enumerate(random_states):
        found |= {f"random.{rank}.{key}": x for key, x in state.items()}
    return found


def load_optimizer(checkpoint: Checkpoint, optimizer: torch.optim.Optimizer) -> None:
    """Give an optimizer the state of the checkpoint; its settings stay what they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, x in checkpoint.part("optimizer").items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = x
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def check_configuration(path: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another configuration. Raises UserError that names the first key that differs."""
    before, after = _flat(saved), _flat(json.loads(json.dumps(now)))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key, "absent") != after.get(key, "absent"):
            raise UserError(
                f"{path}: a checkpoint of another configuration: {key} was {before.get(key, 'absent')} and is now"
                f" {after.get(key, 'absent')}; remove {path.parent} to start anew"
            )


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping as one, keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, one in value.items():
        flat |= _flat(one, f"{prefix}{key}.") if isinstance(one, Mapping) else {f"{prefix}{key}": one}
    return flat
