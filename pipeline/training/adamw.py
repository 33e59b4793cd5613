"""AdamW that leaves torch's compiler out.

Methods of torch's optimizers tell `torch.compile` to let them be, and to say so load all of it: two to four seconds of
each training that has no other use for it (the chunked loss of language models loads it as well). This is
`torch.optim.AdamW` with the methods inside those, the same to the bit.
"""

import torch
from torch.optim import Optimizer


class AdamW(torch.optim.AdamW):
    """As `torch.optim.AdamW` (Loshchilov and Hutter 2019, arXiv:1711.05101); no step is ever part of a graph, whatever
    `differentiable` says."""

    step = torch.no_grad()(torch.optim.AdamW.step.__wrapped__)  # type: ignore[attr-defined]
    zero_grad = Optimizer.zero_grad.__wrapped__  # type: ignore[attr-defined]
    state_dict = Optimizer.state_dict.__wrapped__  # type: ignore[attr-defined]
    load_state_dict = Optimizer.load_state_dict.__wrapped__  # type: ignore[attr-defined]
    add_param_group = Optimizer.add_param_group.__wrapped__  # type: ignore[attr-defined]
