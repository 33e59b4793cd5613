"""The entropy line: how few spikes a value can have, of any code that comes back.

S slots with w spikes on average have an entropy of at most S H2(w / S), H2(p) = -p log2 p - (1 - p) log2 (1 - p): that
of independent slots of equal chance, since H2 is concave and slots together have no more entropy than they have apart.
Codes from which a rate of R bits a value comes back therefore need

    S H2(w / S) >= R,    or, of spikes with signs,    S (H2(w / S) + w / S) >= R:

a sign is one bit more for each spike. Both rise in w up to S / 2, or 2 S / 3; their least w is found there.
"""

import math

from pipeline.stage import UserError


def slot_bits(chance: float, signed: bool = False) -> float:
    """The entropy in bits of a slot that has a spike by that chance, 0 to 1; a sign is as often + as -."""
    both = (chance, 1 - chance)
    return sum(-one * math.log2(one) for one in both if one > 0) + (chance if signed else 0)


def least_spikes(rate_bits: float, slots: int, signed: bool = False) -> float:
    """The least mean number of spikes a value by which so many slots carry `rate_bits` bits a value.

    Raises UserError for a rate that is below 0 or that the slots cannot carry: S bits, or with signs S log2(3).
    """
    most = 2 / 3 if signed else 1 / 2  # where a slot carries most
    if not 0 <= rate_bits <= slots * slot_bits(most, signed):
        capacity = f"{slots} slots carry 0 to {slots * slot_bits(most, signed):g}"
        raise UserError(f"entropy line: {rate_bits:g} bits a value: {capacity}")
    low, high = 0.0, most
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if slots * slot_bits(middle, signed) >= rate_bits else (middle, high)
    return slots * high if rate_bits else 0.0
