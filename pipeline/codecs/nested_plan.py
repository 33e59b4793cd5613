"""How nested codes are trained: training.matryoshka of the configuration, checked. No torch: every run reads this."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from pipeline.stage import UserError, check_keys
from pipeline.training import settings

WEIGHTS = {"reconstruction": 1.0, "similarity": 0.0, "ranking": 1.0, "balance": 0.0, "decorrelation": 0.0}
SETTINGS: dict[str, Any] = {
    **{"steps": 400, "batch": 256, "learning_rate": 2e-3, "warmup_steps": 20, "weights": WEIGHTS},
    **{"metric": "recall", "larger_is_better": True, "evaluate_every": 100, "patience": 4},
}


@dataclass(frozen=True)
class Plan:
    """How to train: what config/config.yaml has under training.matryoshka. Raises UserError for an unusable value."""

    sizes: Sequence[int] = (64, 128, 256, 512, 1024)  # bits that are trained for; others lie between them
    hidden: int = 512  # at most so many hidden units, and so many that all that is shared stays below the bound
    encoder_rate: float = 0.03
    dropout: float = 0.3
    temperature: float = 0.05
    processes: int = 1
    device: str = "cpu"
    settings: Mapping[str, Any] = field(default_factory=lambda: dict(SETTINGS))

    def __post_init__(self) -> None:
        if not self.sizes or any(isinstance(b, bool) or not isinstance(b, int) or b < 8 or b % 8 for b in self.sizes):
            raise UserError(f"training.matryoshka: sizes must be multiples of 8, not {self.sizes!r}")
        for name, most in (("encoder_rate", np.inf), ("dropout", 1), ("temperature", np.inf)):
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
        settings.from_json(self.settings)


def plan_of(given: Mapping[str, Any]) -> Plan:
    """A plan of JSON; what is left out is as shipped. Raises UserError for an unknown key or an unusable value."""
    check_keys("training.matryoshka", given, [one.name for one in fields(Plan)])
    given = dict(given)
    if "settings" in given:
        given["settings"] = {**SETTINGS, **given["settings"]}
        given["settings"]["weights"] = {**WEIGHTS, **given["settings"]["weights"]}
    return Plan(**given)
