"""The random state of a process as tensors: the global generators of Python, NumPy and torch, without pickle.

Every tensor has the same shape in each process, so that the first one can gather them.
"""

import random

import numpy as np
import torch
from torch import Tensor


def capture() -> dict[str, Tensor]:
    """State of all generators: `python`, `numpy` (float64: words, position, spare normal), `torch`, `cuda` (uint8)."""
    version, words, spare = random.getstate()
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002 (libraries draw from it)
    assert isinstance(legacy, dict)
    key, position = legacy["state"]["key"], legacy["state"]["pos"]
    state = {
        "python": torch.tensor([version, *words, spare is not None, spare or 0.0], dtype=torch.float64),
        "numpy": torch.tensor([*key.tolist(), position, legacy["has_gauss"], legacy["gauss"]], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore(state: dict[str, Tensor]) -> None:
    """Put all generators into a state that `capture` gave. float64 holds their 32-bit words exactly."""
    version, *words, has_spare, spare = state["python"].tolist()
    random.setstate((int(version), tuple(map(int, words)), spare if has_spare else None))
    *keys, position, has_normal, normal = state["numpy"].tolist()
    key = np.array(keys, dtype=np.uint32)
    np.random.set_state(("MT19937", key, int(position), int(has_normal), normal))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def seed(seed: int, rank: int) -> None:
    """Seed all generators; each process of a run draws other numbers."""
    first, second, third = np.random.SeedSequence([seed, rank]).generate_state(3).tolist()
    random.seed(first)
    np.random.seed(second)  # noqa: NPY002
    torch.manual_seed(third)
