"""Operations counted in a forward pass against loops over the same tensors."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.neurons.lif import LIF
from pipeline.snn import operations
from pipeline.snn.activity import recorded
from pipeline.snn.layer import Layer


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 5)
        self.neurons = LIF(5)
        self.out = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.neurons(self.embed(x)))


class Reporting(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        self.operations = {"accumulates": x.sum(), "state": 4}
        return x


def test_counts_what_a_loop_counts() -> None:
    torch.manual_seed(0)
    model, x = Small(), torch.randn(4, 6, 3) * 3
    with operations.counted(model) as layers:
        model(x)
    spikes = model.neurons(model.embed(x))
    events = sum(int(spikes[t, row, i] != 0) for t in range(4) for row in range(6) for i in range(5))
    assert 0 < events < 120
    assert layers["embed"] == Layer(macs=24 * 15, values=24 * 8, weights=15)
    assert layers["neurons"] == Layer(updates=24 * 5, neurons=24 * 5, spikes=events, state=5)
    assert layers["out"] == Layer(accumulates=events * 2, weights=10, state=2)


def test_sums_of_spikes_and_signed_spikes_accumulate_each() -> None:
    layer = nn.Linear(3, 4)
    with operations.counted(layer) as layers:
        layer(torch.tensor([[0.0, 2.0, -1.0]]))
    assert layers[""].accumulates == 3 * 4
    assert layers[""].macs == 0


def test_modules_report_their_own_and_calls_add_up() -> None:
    model = nn.Sequential(Reporting())
    with operations.counted(model) as layers:
        model(torch.ones(3))
        model(torch.ones(4))
    assert layers["0"] == Layer(accumulates=7, state=4)
    model(torch.ones(3))
    assert layers["0"].accumulates == 7, "counted behind the block"


def test_refuses_unknown_operations() -> None:
    model = Reporting()
    model.forward = lambda x: setattr(model, "operations", {"adds": 1}) or x  # type: ignore[method-assign, func-returns-value]
    with pytest.raises(ValueError, match=r"Reporting\.operations has no 'adds'"), operations.counted(model):
        model(torch.ones(1))


def test_parameters() -> None:
    assert operations.parameters(Small()) == 3 * 5 + 5 + 5 * 2 + 2 + 10


def test_spike_rates_are_means_over_calls() -> None:
    model = nn.Sequential(LIF(4))
    with recorded(model) as rates:
        shares = [model(torch.full((3, 2, 4), value)).mean().item() for value in (9.0, 0.0, 0.0)]
    assert shares[0] > 0
    assert float(rates["0"]) == pytest.approx(shares[0] / 3)
