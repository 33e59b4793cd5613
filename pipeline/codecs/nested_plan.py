"""How nested codes are trained: training.matryoshka of the configuration, checked. No torch: every run reads this."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from pipeline.stage import UserError, check_keys
from pipeline.training import settings

WEIGHTS = {"reconstruction": 1.0, "similarity": 0.0, "ranking": 1.0, "balance": 0.0, "decorrelation": 0.0}
ENCODER_PARTS = ("balance", "decorrelation")  # parts of the loss that only an encoder that learns has
METRICS = ("recall", "error")
LARGEST = 2**15  # bits: a network serves up to twice as many, which is the longest code
SETTINGS: dict[str, Any] = {
    **{"steps": 200, "batch": 256, "learning_rate": 2e-3, "warmup_steps": 20, "weights": WEIGHTS},
    **{"metric": "recall", "larger_is_better": True, "evaluate_every": 200, "patience": None},
}


@dataclass(frozen=True)
class Plan:
    """How to train: what config/config.yaml has under training.matryoshka. Raises UserError for an unusable value."""

    sizes: Sequence[int] = (64, 128, 256, 512, 1024)  # bits that are trained for; others lie between them
    hidden: int = 512  # at most: fewer, where an int8 network and its code would share more than 4 d (d + 256) bytes
    emphasis: float = 0.25  # bits are ordered as if a component's variance were its power 1 + emphasis
    encoder_rate: float = 0.03
    dropout: float = 0.0
    temperature: float = 0.05
    processes: int = 1
    device: str = "cpu"
    # A fit that was killed goes on from here: `<training>-seed-<seed>` holds a training's checkpoints until the whole
    # output is in place, when whoever writes that removes them (`fit`); null: none are kept.
    folder: str | None = None
    settings: Mapping[str, Any] = field(default_factory=lambda: dict(SETTINGS))

    def __post_init__(self) -> None:
        if not isinstance(self.sizes, list | tuple) or not self.sizes or not all(map(_is_size, self.sizes)):
            raise UserError(f"training.matryoshka: sizes must be multiples of 8 up to {LARGEST:,}, not {self.sizes!r}")
        for name, most in (("emphasis", np.inf), ("encoder_rate", np.inf), ("dropout", 1), ("temperature", np.inf)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < most:
                limit = "" if most == np.inf else f" and below {most}"
                raise UserError(f"training.matryoshka: {name} must be a number from 0 on{limit}, not {value!r}")
        if not self.temperature:
            raise UserError("training.matryoshka: temperature must be above 0")
        for name in ("hidden", "processes"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"training.matryoshka: {name} must be a whole number of at least 1, not {value!r}")
        chosen = settings.from_json(self.settings)
        check_keys("training.matryoshka: settings.weights", chosen.weights, WEIGHTS)
        if chosen.metric is not None and chosen.metric not in (known := self.metrics()):
            what = f"{', '.join(known)} or null"
            raise UserError(f"training.matryoshka: settings.metric must be {what}, not {chosen.metric!r}")

    def metrics(self) -> list[str]:
        """What is measured on held-out rows: of all sizes, and of each."""
        return [f"{what}{size}" for size in ("", *(f"_{bits}" for bits in sorted(set(self.sizes)))) for what in METRICS]


def _is_size(bits: Any) -> bool:
    return isinstance(bits, int) and not isinstance(bits, bool) and 8 <= bits <= LARGEST and bits % 8 == 0


def plan_of(given: Mapping[str, Any]) -> Plan:
    """A plan of JSON; what is left out is as shipped. Raises UserError for an unknown key or an unusable value."""
    check_keys("training.matryoshka", given, [one.name for one in fields(Plan)])
    own = given.get("settings", {})
    if not isinstance(own, Mapping):
        raise UserError(f"training.matryoshka: settings must be keys and values, not {own!r}")
    weights = own.get("weights", {})
    if not isinstance(weights, Mapping):
        raise UserError(f"training.matryoshka: settings.weights must be keys and values, not {weights!r}")
    if "seed" in own:
        raise UserError("training.matryoshka: settings.seed: the seeds are those of evaluation.seeds")
    return Plan(**{**given, "settings": {**SETTINGS, **own, "weights": {**WEIGHTS, **weights}}})
