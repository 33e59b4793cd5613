"""The figures of a network's activity draw what was recorded, where it was, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

from pipeline import recording, stage
from pipeline.plots import snn_activity
from pipeline.plots.snn_attention import by_shift, reach, snn_attention
from pipeline.plots.snn_membrane import snn_membrane
from pipeline.plots.snn_raster import snn_raster
from pipeline.recording import Attention, Layer, Recording

STEPS, TOKENS, HEADS = 2, 5, 3


def layer(group: str, name: str, traced: int = 2) -> Layer:
    rng = np.random.default_rng(0)
    spikes = rng.integers(0, 2, (STEPS * TOKENS, 6)).astype(np.uint8)
    potential = rng.normal(size=(STEPS * TOKENS, traced)).astype(np.float32)
    return Layer(group, name, 12, spikes, np.arange(traced, dtype=np.int32), potential, np.full_like(potential, 0.5))


def attention() -> Attention:
    """Each head reads keys `head + distance` micro-steps on, and nearer ones weigh more."""
    weights = np.zeros((HEADS, STEPS, STEPS, 8), np.float32)
    for h, t, n in np.ndindex(HEADS, STEPS, 8):
        weights[h, t, (t + h + n) % STEPS, n] = 0.1**n
    return Attention(weights, np.arange(3) % 2, np.ones(3), np.full(3, 0.1))


def made(rests: bool = True, marks: dict[str, int] | None = None) -> Recording:
    layers = [layer(group, name) for group in ("block 1", "block 2") for name in ("keys", "values")]
    layers.append(layer("block 2", "state", traced=0))
    places = [f"w{place}" for place in range(TOKENS)]
    return Recording("A network", STEPS, places, rests, layers, {"block 1": attention()}, marks or {})


def panels(axes: list[Axes]) -> dict[str, Axes]:
    """By the first line of their label, of the last group that has one."""
    return {one.get_ylabel().split("\n")[0]: one for one in axes if one.get_visible() and one.get_ylabel()}


def test_a_dash_is_a_spike_and_ticks_are_places() -> None:
    found = made(marks={"store": 2})
    figure = snn_raster(found)
    axes = panels(figure.axes)
    assert list(axes) == ["keys", "values", "state"]
    dashes = axes["state"].collections[-1].get_segments()
    drawn = {(round((a[0] + b[0]) / 2), round(a[1])) for a, b in dashes}
    assert drawn == set(map(tuple, np.argwhere(found.layers[-1].spikes)))
    assert [text.get_text() for text in axes["state"].get_xticklabels()] == found.places
    assert list(axes["state"].get_xticks()) == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert "6 of 12" in axes["keys"].get_ylabel()
    rate = found.layers[0].spikes.mean()
    assert [text.get_text() for text in figure.axes[0].texts] == [f"active\n{rate:.0%}", "store"]
    (shade,) = axes["state"].patches
    assert (shade.get_x(), shade.get_width()) == (3.5, 2)  # type: ignore[attr-defined]


@pytest.mark.parametrize("rests", [True, False])
def test_membranes_break_where_neurons_rest(rests: bool) -> None:
    found = made(rests)
    axes = panels(snn_membrane(found).axes)
    assert list(axes) == ["keys", "values"]  # a state has no membrane
    potential, threshold, fired = axes["values"].lines
    y = np.asarray(potential.get_ydata())
    assert np.isnan(y).sum() == (TOKENS - 1 if rests else 0)
    np.testing.assert_array_equal(y[np.isfinite(y)], found.layers[3].potential[:, 0])
    np.testing.assert_array_equal(threshold.get_ydata(), found.layers[3].threshold[:, 0])
    np.testing.assert_array_equal(fired.get_xdata(), np.flatnonzero(found.layers[3].spikes[:, 0]))


def test_attention_is_drawn_by_shift_and_by_micro_steps() -> None:
    heads = attention()
    expected = np.zeros((STEPS, 8))
    for n in range(8):
        expected[(1 + n) % STEPS, n] = STEPS * heads.weights[1, 0, :, n].sum()
    np.testing.assert_allclose(by_shift(heads.weights[1]), expected, rtol=1e-6)
    wide, square = snn_attention(made()).axes[2:4]
    share = np.asarray(wide.images[0].get_array())
    np.testing.assert_allclose(share, expected[:, :4] / expected.sum(), rtol=1e-6)  # of eight, the four that are heard
    both = np.asarray(square.images[0].get_array())
    np.testing.assert_allclose(both.T, heads.weights[1].sum(2) / heads.weights[1].sum(), rtol=1e-6)
    assert "head 2: shift 1, pace 1, decay 0.10" in wide.get_title(loc="left")


def test_as_far_as_the_weight_reaches() -> None:
    weights = np.zeros((2, 1, 1, 60))
    weights[0, 0, 0, 0] = 1.0
    weights[1, 0, 0, :20] = 1.0
    assert reach(weights) == 19  # 19 of 20 are 95 %
    assert reach(weights[:1]) == 4
    assert reach(np.zeros((1, 1, 1, 3))) == 3


def test_the_stage_writes_what_a_network_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--recording", str(tmp_path / "one.safetensors"), "--output", str(tmp_path / "snn_one")]
    assert stage.run(snn_activity.main, arguments) == 1
    assert "one.safetensors: not a recording" in capsys.readouterr().err
    recording.write(tmp_path / "one.safetensors", made()._replace(attention={}))
    assert stage.run(snn_activity.main, arguments) == 0
    made_files = {path.name for path in tmp_path.glob("snn_*")}
    assert made_files == {f"snn_one_{what}.{suffix}" for what in ("raster", "membrane") for suffix in ("png", "svg")}


def test_nothing_recorded_makes_empty_figures() -> None:
    nothing = made()._replace(layers=[], attention={})
    for draw in (snn_raster, snn_membrane, snn_attention):
        assert "no measurements" in draw(nothing).axes[0].texts[0].get_text()


def test_a_head_that_hears_nothing_is_drawn() -> None:
    silent = attention()
    silent.weights[0] = 0
    assert snn_attention(made()._replace(attention={"block 1": silent})).axes
