"""MurmurHash64A, the 64-bit hash by which spaCy keys its strings.

Austin Appleby, MurmurHash2 (2008), public domain, 64-bit version for little-endian 64-bit machines:
https://github.com/aappleby/smhasher/blob/master/src/MurmurHash2.cpp
"""

MULTIPLIER = 0xC6A4A7935BD1E995
WORD = (1 << 64) - 1  # all arithmetic is modulo 2^64


def murmurhash64a(data: bytes, seed: int) -> int:
    """The hash of `data`, an unsigned 64-bit integer.

    With m the multiplier and h = seed xor (length m), each whole block k of 8 bytes is mixed in by

        k <- k m,  k <- k xor (k >> 47),  k <- k m,  h <- (h xor k) m

    the remaining 1 to 7 bytes t by h <- (h xor t) m; then h <- h xor (h >> 47), h <- h m, h <- h xor (h >> 47).

    >>> murmurhash64a(b"apple", seed=1)
    8566208034543834098
    """
    h = seed ^ (len(data) * MULTIPLIER & WORD)
    whole = len(data) - len(data) % 8
    for start in range(0, whole, 8):
        k = int.from_bytes(data[start : start + 8], "little") * MULTIPLIER & WORD
        k = (k ^ (k >> 47)) * MULTIPLIER & WORD
        h = (h ^ k) * MULTIPLIER & WORD
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * MULTIPLIER & WORD
    h = (h ^ (h >> 47)) * MULTIPLIER & WORD
    return h ^ (h >> 47)
