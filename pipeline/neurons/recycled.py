"""Memory that is used again: a fresh megabyte costs the system more than a step of neurons over it costs the processor.

Tensors of a layer over time are megabytes, allocated and freed at every pass. Allocators give such blocks back to the
system, which clears each page again when it is touched. Blocks handed out here are kept and handed out again once no
tensor lies in them any more.
"""

import math
import sys
from threading import Lock

import numpy as np
import torch
from torch import Tensor

KEPT = 1 << 28
"""Bytes that are kept of blocks no longer in use, at most: 256 MiB."""
LEAST = 1 << 16
"""Bytes under which allocators keep blocks themselves."""
_ALIGNED = 64


def _references(blocks: list[np.ndarray], place: int) -> int:
    return sys.getrefcount(blocks[place])


_IDLE = _references([np.empty(1)], 0)
"""References to a block in which nothing lies, counted as they are below: interpreters differ in how many they hold."""


class Recycled:
    """Blocks of memory for tensors on the CPU; safe to be used by several threads."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._blocks: list[np.ndarray] = []
        self._lock = Lock()

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """As torch.empty."""
        size = math.prod(shape) * dtype.itemsize
        if size < LEAST:
            return torch.empty(shape, dtype=dtype)
        with self._lock:
            return torch.frombuffer(self._take(size), dtype=dtype).view(shape)

    def _take(self, size: int) -> np.ndarray:
        idle = 0
        for i in range(len(self._blocks) - 1, -1, -1):
            if _references(self._blocks, i) > _IDLE:
                continue
            if size == len(self._blocks[i]):
                self._blocks.append(self._blocks.pop(i))
                return self._blocks[-1]
            idle += len(self._blocks[i])
            if idle > self._kept:  # the longest unused go
                del self._blocks[i]
        room = np.empty(size + _ALIGNED, np.uint8)
        start = -room.ctypes.data % _ALIGNED
        self._blocks.append(room[start : start + size])
        return self._blocks[-1]
