"""Early stopping: training ends when a held-out metric has not improved for `patience` evaluations (Prechelt 1998).

Pure: a state and a value give the next state, so the state is all that a checkpoint has to hold.
"""

from typing import NamedTuple

from pipeline.training.settings import Settings


class Stopping(NamedTuple):
    """The best value so far, the number of steps after which it was seen, and evaluations without improvement since."""

    best: float | None = None
    best_step: int | None = None
    waited: int = 0


def update(state: Stopping, value: float, step: int, settings: Settings) -> Stopping:
    """The state after `value` was measured after `step` steps. Better by less than `min_improvement` is not better."""
    sign = 1 if settings.larger_is_better else -1
    if state.best is None or sign * (value - state.best) > settings.min_improvement:
        return Stopping(value, step, 0)
    return state._replace(waited=state.waited + 1)


def exhausted(state: Stopping, settings: Settings) -> bool:
    return settings.patience is not None and state.waited >= settings.patience
