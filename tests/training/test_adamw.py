"""Against torch's own, and that it does not load what it is there to leave out."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from pipeline.training.adamw import AdamW

SETTINGS = {"lr": 0.01, "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.1}


def trained(kind: type[torch.optim.AdamW], fused: bool) -> tuple[list[torch.Tensor], dict]:
    """Weights and state after ten steps, with a new optimizer of the saved state in the middle."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    optimizer = kind(model.parameters(), fused=fused, **SETTINGS)
    for step in range(10):
        if step == 5:
            saved = optimizer.state_dict()
            optimizer = kind(model.parameters(), fused=fused, **SETTINGS)
            optimizer.load_state_dict(saved)
        optimizer.zero_grad()
        model(torch.randn(4, 5)).square().mean().backward()
        optimizer.step()
    return [x.detach() for x in model.parameters()], optimizer.state_dict()


@pytest.mark.parametrize("fused", [True, False])
def test_ten_steps_are_those_of_torch(fused):
    ours, state = trained(AdamW, fused)
    theirs, their_state = trained(torch.optim.AdamW, fused)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert state["param_groups"] == their_state["param_groups"]
    for number, one in their_state["state"].items():
        assert all(torch.equal(one[name], state["state"][number][name]) for name in one)


def test_the_compiler_is_not_loaded():
    program = """
import sys, torch
from pipeline.training.adamw import AdamW
weight = torch.nn.Parameter(torch.ones(3))
optimizer = AdamW([weight], fused=True)
optimizer.load_state_dict(optimizer.state_dict())
optimizer.zero_grad()
weight.sum().backward()
optimizer.step()
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_trainings_use_it(tmp_path):
    program = f"""
import sys, numpy, torch
from pipeline.training.loop import train
from pipeline.training.arrays import Rows
from pipeline.training.settings import Settings
def loss(model, rows, context):
    return {{"x": model(rows).square().mean()}}
rows = Rows(numpy.ones((4, 3), numpy.float32))
train(torch.nn.Linear(3, 2), rows, loss, Settings(steps=1, batch=4, weights={{"x": 1}}), {str(tmp_path / "run")!r})
sys.exit("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
