"""All spike codes under one name, so that one job fits and measures them: the module that the shipped config lists.

    build("phase_8", seed)    what phase.build("phase_8", seed) gives

Each code can be listed under its own module too.
"""

from types import ModuleType

from pipeline.codec import Codec
from pipeline.spikes import (
    calibration,
    carried,
    delta,
    few_spikes,
    integrate_fire,
    latency,
    minimum_weight,
    naf,
    phase,
    population,
    rate,
    staggered,
    temporal_sigma_delta,
    transport,
)
from pipeline.stage import UserError

BY_ORDER: tuple[ModuleType, ...] = (
    *(rate, integrate_fire, latency, delta, temporal_sigma_delta),
    *(phase, naf, few_spikes, minimum_weight, population, staggered, transport, carried),
)
CODES = {module.__name__.rpartition(".")[2]: module for module in BY_ORDER}


def build(name: str, seed: int) -> Codec:
    """The code that the name's beginning says. Raises UserError for a name that is none's, as the code itself does."""
    for own, module in CODES.items():
        if name.startswith(f"{own}_"):
            return module.build(name, seed)
    raise UserError(f"representations: spike_codes has no codec {name!r}; its codes are {', '.join(CODES)}")


fit_together = calibration.together(build)
