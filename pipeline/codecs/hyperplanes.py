"""Signs along random directions: a code of equal bits from vectors of any kind (Charikar 2002).

    b_i = sign(h_i . z),    h_i rows of Hadamard matrices times random signs (`projection`)

Of two vectors at an angle of w the expected share of bits that differ is w / pi. A code whose bits weigh unequally can
be turned into this one where it is searched: bits that a machine counts, from what is stored.
"""

from pipeline.codec import Array
from pipeline.codecs import bits, projection

SEED = 0  # nothing is learned, so there is nothing to vary


def pack(z: Array, count: int) -> Array:
    """z float32 [n, k] -> `count` packed bits, uint8 [n, ceil(count / 8)]."""
    return bits.pack(projection.fast_jl(z, count, SEED).T > 0)
