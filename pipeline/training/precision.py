"""Which floating-point numbers a run computes with.

float32 and float64 are computed in as they stand. bfloat16 and float16 are autocast: parameters and their updates stay
float32, matrix products take the short type. float16 has so few exponents that gradients vanish; they are scaled up and
a step that overflows is skipped (Micikevicius et al. 2018, arXiv:1710.03740).
"""

import torch

from pipeline.stage import UserError


def check(precision: str, device: torch.device) -> None:
    """Raises UserError where the device has no such numbers."""
    if precision == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UserError("settings: precision bfloat16, but this GPU has no such numbers; use float16 or float32")


def parameters(precision: str) -> torch.dtype:
    """The type of parameters and of floating-point samples."""
    return torch.float64 if precision == "float64" else torch.float32


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which a loss is computed."""
    short = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
    return torch.autocast(device.type, dtype=short or torch.bfloat16, enabled=short is not None)


def scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Scales gradients of float16, and does nothing to others."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
