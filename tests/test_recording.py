"""Recordings go to disk and back, and what is none is refused in a line."""

from pathlib import Path

import numpy as np
import pytest

from pipeline import recording
from pipeline.recording import Attention, Layer, Recording
from pipeline.stage import UserError


def made() -> Recording:
    rng = np.random.default_rng(0)
    spikes = rng.integers(0, 2, (4, 5)).astype(np.uint8)
    potential, threshold = rng.normal(size=(2, 2, 4)).astype(np.float32).transpose(0, 2, 1)
    layer = Layer("block 1", "MLP input", 9, spikes, np.array([1, 3], np.int32), potential, threshold)
    weights = rng.random((3, 2, 2, 6)).astype(np.float32)
    shift, pace, decay = rng.random((3, 3)).astype(np.float32)
    attention = {"block 1": Attention(weights, shift, pace, decay)}
    return Recording("Spikformer", 2, ["a", "ß"], True, [layer], attention, {"store": 1})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    before = made()
    recording.write(tmp_path / "one.safetensors", before)
    after = recording.read(tmp_path / "one.safetensors")
    for name in ("network", "timesteps", "places", "rests", "marks"):
        assert getattr(after, name) == getattr(before, name)
    (layer,), (expected,) = after.layers, before.layers
    assert layer[:3] == expected[:3]
    for found, wanted in zip(layer[3:], expected[3:], strict=True):
        np.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(after.attention["block 1"], before.attention["block 1"], strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("content", [None, b"", b"no safetensors"])
def test_other_files_are_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "one.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"one\.safetensors: not a recording"):
        recording.read(path)


def test_arrays_that_do_not_belong_together_are_refused_by_layer(tmp_path: Path) -> None:
    one = made()
    layer, attention = one.layers[0], one.attention["block 1"]
    apart = {name: getattr(layer, name)[..., None] for name in ("traced", "potential", "threshold")}
    nested = layer._replace(**apart)  # shapes that fit each other
    few = Attention(*(x[:1] for x in attention))  # of fewer heads than the other
    squared = Attention(*(x[:, None] for x in attention))
    empty = layer._replace(spikes=layer.spikes[:0], potential=layer.potential[:0], threshold=layer.threshold[:0])
    wrong: list[tuple[dict[str, object], str]] = [
        ({"layers": [layer._replace(spikes=layer.spikes[:3])]}, "block 1/MLP input"),
        ({"layers": [layer._replace(potential=layer.potential[:, :1])]}, "block 1/MLP input"),
        ({"layers": [layer._replace(threshold=layer.threshold[:3])]}, "block 1/MLP input"),
        ({"layers": [layer._replace(traced=np.array([1, 5], np.int32))]}, "block 1/MLP input"),
        ({"layers": [layer._replace(traced=np.array([-1, 3], np.int32))]}, "block 1/MLP input"),
        ({"layers": [layer._replace(traced=np.array([1, 3], np.float32))]}, "block 1/MLP input"),
        ({"layers": [nested]}, "block 1/MLP input"),
        ({"layers": [layer._replace(spikes=np.array(1, np.uint8))]}, "block 1/MLP input"),
        ({"layers": [empty], "timesteps": 0}, "block 1/MLP input"),
        ({"places": ["a"]}, "block 1/MLP input"),
        ({"attention": {"block 1": attention._replace(pace=attention.pace[:2])}}, "attention/block 1"),
        ({"attention": {"block 1": attention._replace(weights=attention.weights[0])}}, "attention/block 1"),
        ({"attention": {"block 1": attention._replace(weights=attention.weights[:, :1])}}, "attention/block 1"),
        ({"attention": {"block 1": attention._replace(weights=attention.weights[..., :0])}}, "attention/block 1"),
        ({"attention": {"block 1": attention, "block 2": few}}, "attention/block 2"),
        ({"attention": {"block 1": squared}}, "attention/block 1"),
        ({"timesteps": 1, "places": list("abcd")}, "attention/block 1"),
        ({"timesteps": 2.0}, "timesteps 2.0"),
        ({"layers": [layer._replace(neurons=4)]}, "block 1/MLP input: shows 5 of 4"),
        ({"layers": [layer._replace(neurons=None)]}, "block 1/MLP input: shows 5 of None"),  # type: ignore[arg-type]
        ({"layers": [layer._replace(potential=layer.potential.astype(np.int32))]}, "block 1/MLP input: a membrane"),
        ({"layers": [layer._replace(potential=layer.potential * np.nan)]}, "block 1/MLP input: a membrane"),
        ({"layers": [layer._replace(threshold=layer.threshold + np.inf)]}, "block 1/MLP input: a membrane"),
        ({"attention": {"block 1": attention._replace(decay=attention.decay * np.nan)}}, "attention/block 1: a weight"),
        ({"marks": {"store": 2}}, "mark 'store'"),
        ({"marks": ["store"]}, "AttributeError"),
    ]
    for change, name in wrong:
        recording.write(tmp_path / "one.safetensors", one._replace(**change))  # type: ignore[arg-type]
        with pytest.raises(UserError, match=rf"one\.safetensors: not a recording of a network .*{name}"):
            recording.read(tmp_path / "one.safetensors")
