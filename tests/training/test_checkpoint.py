from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.stage import UserError
from pipeline.training import checkpoint


def stepped(steps):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()
    return model, optimizer


def test_everything_comes_back_bit_for_bit(tmp_path):
    model, optimizer = stepped(3)
    states = [{"torch": torch.get_rng_state()}, {"torch": torch.arange(4, dtype=torch.uint8)}]
    facts = {"step": 3, "nested": {"rate": 0.1, "none": None}}
    checkpoint.write(tmp_path / "c.safetensors", checkpoint.tensors_of(model, optimizer, states), facts)
    assert (tmp_path / "c.safetensors").stat().st_mode & 0o777 == 0o644
    read = checkpoint.read(tmp_path / "c.safetensors")
    assert read.facts == facts
    assert torch.equal(read.part("random.1")["torch"], states[1]["torch"])
    other, fresh = stepped(0)
    other.load_state_dict(read.part("model"))
    checkpoint.load_optimizer(read, fresh)
    for name, x in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], x), name
    before, after = optimizer.state_dict()["state"], fresh.state_dict()["state"]
    assert before.keys() == after.keys()
    for number, state in before.items():
        assert state.keys() == after[number].keys()
        assert all(torch.equal(x, after[number][key]) for key, x in state.items())


def test_tied_weights_are_stored(tmp_path):
    model = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    model[1].weight = model[0].weight
    checkpoint.write(tmp_path / "c.safetensors", {f"model.{k}": x for k, x in model.state_dict().items()}, {})
    read = checkpoint.read(tmp_path / "c.safetensors").part("model")
    assert torch.equal(read["1.weight"], model[0].weight)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.unlink(),
        lambda path: checkpoint.write(path, {"x": torch.zeros(4)}, ["facts"]),
    ],
)
def test_what_is_no_whole_checkpoint_is_named(tmp_path, harm):
    path = tmp_path / "c.safetensors"
    checkpoint.write(path, {"x": torch.zeros(4)}, {})
    harm(path)
    with pytest.raises(UserError, match=r"c\.safetensors: not a whole checkpoint"):
        checkpoint.read(path)


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match=rf"{tmp_path}: is a folder, not a checkpoint"):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"a": {"b": 2, "c": [1]}, "d": None}, r"a\.b was 1 and is now 2; remove folder"),
        ({"a": {"b": 1, "c": [2]}, "d": None}, r"a\.c was \[1\] and is now \[2\]"),
        ({"a": {"b": 1}, "d": None}, r"a\.c was \[1\] and is now absent"),
        ({"a": {"b": 1, "c": [1], "e": 5}, "d": None}, r"a\.e was absent and is now 5"),
    ],
)
def test_another_configuration_is_refused_by_its_first_key(now, said):
    saved = {"a": {"b": 1, "c": [1]}, "d": None}
    path = Path("folder/last.safetensors")
    checkpoint.check_configuration(path, saved, {"a": {"b": 1, "c": (1,)}, "d": None})
    with pytest.raises(UserError, match=said):
        checkpoint.check_configuration(path, saved, now)
