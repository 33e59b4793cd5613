import sys
from importlib import metadata
from types import ModuleType

import pytest
import torch

from performance import spikes
from pipeline.stage import UserError


def bits(u, steps):
    return torch.stack([(u * 2**steps).to(torch.int32) >> place & 1 for place in range(steps - 1, -1, -1)]).float()


def test_all_that_is_installed_is_a_peer_and_the_rest_is_named(monkeypatch, caplog):
    made = {name: ModuleType(name) for name in ("snntorch", "snntorch.spikegen")}
    made["snntorch"].spikegen = made["snntorch.spikegen"]
    loaded = [name for name in sys.modules if name.startswith("spikingjelly.")]  # by other tests
    for name, value in (made | dict.fromkeys(["spikingjelly", *loaded])).items():
        monkeypatch.setitem(sys.modules, name, value)
    monkeypatch.setattr(metadata, "version", lambda name: "7")
    with caplog.at_level("WARNING"):
        assert list(spikes.peers()) == ["snntorch 7 spikegen.rate", "snntorch 7 spikegen.latency"]
    assert caplog.messages[0].startswith("spikingjelly is left out: package 'spikingjelly")


def test_rows_against_a_phase_encoder_of_the_same_spikes():
    found = spikes.measure("phase", 8, 3, 1, {"x WeightedPhaseEncoder": bits})
    assert [row["what"] for row in found] == ["phase encoding", "phase encoding, spikes as float32", "phase decoding"]
    assert [row["peer"] for row in found[:2]] == ["x WeightedPhaseEncoder"] * 2
    for row in found:
        assert float(row["ratio"]) == pytest.approx(float(row["ours"]) / float(row["peer_value"]), rel=0.01)


def test_a_phase_encoder_of_other_spikes_is_refused():
    with pytest.raises(UserError, match="the spikes of x WeightedPhaseEncoder are not those of phase_8"):
        spikes.measure("phase", 8, 3, 1, {"x WeightedPhaseEncoder": lambda u, steps: 1 - bits(u, steps)})


def test_without_peers_there_is_no_ratio_of_encoding():
    rows = spikes.measure("naf", 8, 3, 1, {})
    assert [row["ratio"] == "" for row in rows] == [True, True, False]


def test_speeds_are_bytes_of_float32_rows_a_second(monkeypatch):
    monkeypatch.setattr(spikes, "medians", lambda runs, what, *sides: [float(1 + i) for i in range(len(sides))])
    first, second, _ = spikes.measure("phase", 8, 5, 1, {"x": bits})
    assert (first["ours"], second["ours"], first["peer_value"]) == ("7680", "3840", "2560")
    assert first["size"] == "5 x 384 values, 8 steps"
