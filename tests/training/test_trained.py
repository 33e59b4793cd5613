"""Networks are read without trust: what a file has to say, weights that are some, data that are its own."""

import math

import pytest
import torch
from torch import nn

from pipeline.stage import UserError
from pipeline.training import checkpoint, trained

FACTS = {
    "module": "a.b",
    "options": {"width": 3},
    "settings": {"seed": 5},
    "result": {"seconds": 2},
    "data": "digest",
}
WEIGHTS = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}


def write(path, weights=WEIGHTS, facts=FACTS):
    checkpoint.write(path, {f"model.{name}": x for name, x in weights.items()}, facts)
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "m.safetensors")


def test_a_network_is_read_and_loaded(path):
    found = trained.read(path, ["c", "a.b"])
    assert found[:6] == (path, "a.b", {"width": 3}, 5, 2.0, "digest")
    model = nn.Linear(3, 2)
    found.load(model)
    assert not model.training
    assert torch.equal(model.weight, WEIGHTS["weight"])
    found.check_data("digest", path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("module", ["a.b"], r"a network of \['a\.b'\], not of a\.b or c"),
        ("module", None, "a network of None"),
        ("options", [1], r"\(options is \[1\]\)"),
        ("settings", {"seed": "x"}, r"\(settings\.seed is 'x'\)"),
        ("settings", {"seed": None}, r"\(settings\.seed is None\)"),
        ("settings", {"seed": True}, r"\(settings\.seed is True\)"),
        ("settings", {"seed": -1}, r"settings\.seed is -1, not from 0"),
        ("settings", {"seed": 2**31}, r"settings\.seed is 2147483648, not from 0"),
        ("settings", ["seed"], r"\(no settings\.seed\)"),
        ("result", {}, r"\(no result\.seconds\)"),
        ("result", {"seconds": math.nan}, r"result\.seconds is nan"),
        ("data", 5, r"\(data is 5\)"),
    ],
)
def test_a_header_that_says_something_else_is_named(path, key, value, said):
    with pytest.raises(UserError, match=rf"m\.safetensors: .*{said}"):
        trained.read(write(path, facts={**FACTS, key: value}), ["a.b", "c"])


@pytest.mark.parametrize("key", ["options", "settings", "result", "data"])
def test_a_header_that_says_too_little_is_named(path, key):
    facts = {name: value for name, value in FACTS.items() if name != key}
    with pytest.raises(UserError, match=rf"m\.safetensors: not a finished training \(no {key}"):
        trained.read(write(path, facts=facts), ["a.b"])


@pytest.mark.parametrize(
    ("bias", "said"),
    [
        (torch.full((2,), torch.nan), "bias holds NaN or infinity"),
        (torch.tensor([0, torch.inf]), "bias holds NaN or infinity"),
        (torch.tensor([0, 1e300], dtype=torch.float64), "bias holds NaN or infinity"),
        (torch.zeros(2, dtype=torch.int32), r"bias is torch\.int32"),
    ],
)
def test_weights_that_are_none_are_named(path, bias, said):
    with pytest.raises(UserError, match=rf"m\.safetensors: {said}"):
        trained.read(write(path, {**WEIGHTS, "bias": bias}), ["a.b"])


def test_another_model_other_data_and_options_that_cannot_be_are_refused_with_the_file(path):
    found = trained.read(path, ["a.b"])
    with pytest.raises(
        UserError, match=r"m\.safetensors: of another architecture: weight is \[2, 3\], expected \[2, 4"
    ):
        found.load(nn.Linear(4, 2))
    with pytest.raises(UserError, match=r"m\.safetensors: of another architecture: bias is \[2\], expected absent"):
        found.load(nn.Linear(3, 2, bias=False))
    with pytest.raises(UserError, match=rf"m\.safetensors: trained on other data than x and {path}"):
        found.check_data("other", "x", path)

    def refuse(options):
        raise UserError(f"width {options['width']}")

    with pytest.raises(UserError, match=r"m\.safetensors: width 3"):
        found.built(refuse)
