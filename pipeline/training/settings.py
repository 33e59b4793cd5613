"""What a training run is told: one frozen record with a JSON form. It travels in the checkpoint, to be compared."""

import sys
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from pipeline.stage import UserError, check_keys

LARGEST = 2**63 - 1
PRECISIONS = ("float64", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Settings:
    """Counts are of optimizer steps unless a name says otherwise; one step takes in one global batch.

    Raises UserError that names the key if a value cannot be used.
    """

    steps: int
    batch: int  # samples in a global batch, of all processes and accumulated parts together
    weights: Mapping[str, float]  # of each named part of the loss; a part of weight 0 is left out
    learning_rate: float = 1e-3  # the highest, at the end of the warm-up
    warmup_steps: int = 0
    final_share: float = 0.0  # of learning_rate, where the cosine ends
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = None  # the longest gradient, Euclidean norm over all parameters; null: any length
    accumulate: int = 1  # parts that a batch is computed in, one behind the other; batch terms see one part
    precision: str = "float32"  # bfloat16 and float16 are autocast, parameters stay float32
    seed: int = 0
    window: int = 1 << 18  # samples that are shuffled at a time, so held in memory; at least one row group
    log_every: int = 10
    evaluate_every: int = 100
    checkpoint_every: int = 100
    metric: str | None = None  # the held-out metric that chooses the best checkpoint and stops
    larger_is_better: bool = False
    patience: int | None = None  # evaluations without improvement before training stops; null: never
    min_improvement: float = 0.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "window", "log_every", "evaluate_every", "checkpoint_every"):
            _check(name, getattr(self, name), int, 1)
        for name in ("warmup_steps", "seed"):
            _check(name, getattr(self, name), int, 0)
        for name in ("learning_rate", "final_share", "beta1", "beta2", "epsilon", "weight_decay", "min_improvement"):
            _check(name, getattr(self, name), float, 0)
        if self.clip_norm is not None:
            _check("clip_norm", self.clip_norm, float, 0)
        if self.patience is not None:
            _check("patience", self.patience, int, 1)
            if self.metric is None:
                raise UserError("settings: patience waits for a metric, and metric is null")
        if not isinstance(self.weights, Mapping) or not self.weights:
            raise UserError("settings: weights must name the parts of the loss, each with its weight")
        for part, weight in self.weights.items():
            _check(f"weights.{part}", weight, float, 0)
        if not any(self.weights.values()):
            raise UserError("settings: all weights are 0, so there is nothing to learn from")
        if self.precision not in PRECISIONS:
            raise UserError(f"settings: precision {self.precision!r} is not one of {', '.join(PRECISIONS)}")
        if self.batch % self.accumulate:
            raise UserError(f"settings: a batch of {self.batch} does not fall into {self.accumulate} equal parts")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _check(name: str, value: Any, kind: type, least: float) -> None:
    """Refuse a value of another type and one that is not finite, below `least` or too large for 64 bits. An int is a
    float as well."""
    allowed, most = ((int, float), sys.float_info.max) if kind is float else (int, LARGEST)
    number = isinstance(value, allowed) and not isinstance(value, bool)
    if not (number and least <= value <= most):
        what = "a whole number" if kind is int else "a number"
        bound = f"at most {most}" if number and value > most else f"at least {least}"
        raise UserError(f"settings: {name} must be {what} of {bound}, not {value!r}")


def from_json(value: Mapping[str, Any]) -> Settings:
    """Settings from a JSON object. Raises UserError for a key that there is not, one missing, or an unusable value."""
    known = {field.name: field.default for field in fields(Settings)}
    check_keys("settings", value, known, [name for name, default in known.items() if default is MISSING])
    return Settings(**value)
