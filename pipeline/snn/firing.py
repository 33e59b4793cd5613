"""When a layer of neurons is dead or saturated, and what is done: stop, rescue it by its thresholds, or warn."""

from collections.abc import Callable

from pipeline import stage
from pipeline.codec import NotApplicableError
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

SATURATED = 0.95  # spikes a neuron and step, above which a layer says nothing any more
POLICIES = ("stop", "rescue", "warn")
RESCUE = 0.7  # what a dead layer's thresholds are multiplied by; a saturated one's are divided by it
TRIES = 60


def fault(layer: str, rate: float) -> str | None:
    """What is wrong with a layer of this rate, spikes a neuron and step; None if nothing."""
    if 0 < rate <= SATURATED:
        return None
    return f"{layer}: " + ("no neuron fired" if rate == 0 else f"{rate:.0%} of all neurons and steps fired")


def settled(layer: str, threshold: float, fire: Callable[[float], SpikeTrain], policy: str) -> float:
    """The threshold of a codec whose spikes are `fire(threshold)`: the one given, or moved by a rescue (logged).

    Raises UserError for a dead or saturated layer if it is to stop, NotApplicableError (the codec is left out) if it is
    to warn or no rescue helps.
    """
    what = None
    for _ in range(TRIES):
        train = fire(threshold)
        rate = 1 - train.sparsity
        if (found := fault(layer, rate)) is None:
            return threshold
        if policy == "stop":
            raise UserError(f"{found}; `dead_layers: rescue` moves its thresholds and goes on")
        if policy == "warn":
            raise NotApplicableError(found)
        if what is None:
            what = found
            stage.log.warning("%s; its thresholds are moved", what)
        threshold *= RESCUE if rate == 0 else 1 / RESCUE
    raise NotApplicableError(f"{what}; no threshold helps")
