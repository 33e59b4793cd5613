import itertools

import matplotlib
import numpy as np
import pytest

from pipeline.plots import style
from pipeline.plots.raster import raster
from pipeline.spikes.train import SpikeTrain

WORDS = ["king", "queen", "Zürich", "mountain", "river", "walk", "walking", "good", "better", "incomprehensible"]


def dense(signed=False, words=10, steps=8, neurons=50):
    return np.random.default_rng(0).integers(-1 if signed else 0, 2, (steps, words, neurons))


def dots(axes, place=0):
    """(time, neuron) of what one of the two collections of a panel draws."""
    return {(int(x), int(y)) for x, y in axes.collections[place].get_offsets()}


def visible(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def test_a_panel_a_word_and_a_dot_a_spike():
    trains = dense(signed=True)
    figure = raster(trains, WORDS, "Ten words")
    assert [axes.get_title(loc="left") for axes in figure.axes] == WORDS
    for number, axes in enumerate(figure.axes):
        for place, sign in enumerate((1, -1)):
            assert dots(axes, place) == set(map(tuple, np.argwhere(trains[:, number] == sign).tolist()))
        assert axes.collections[0].get_sizes().tolist() == [1.5]
        assert matplotlib.colors.to_hex(axes.collections[0].get_facecolor()[0]) == style.BLACK
        assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 7.5), (-0.5, 49.5))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["spike", "negative spike"]


def test_without_signs_there_is_nothing_to_explain():
    assert not raster(dense(), WORDS, "Ten words").legends


def test_titles_and_labels_do_not_overlap():
    figure = raster(dense(signed=True), WORDS, "Ten words")
    figure.draw_without_rendering()
    texts = [axes._left_title for axes in figure.axes] + [axes.xaxis.label for axes in figure.axes[5:]]
    boxes = [text.get_window_extent() for text in [*texts, figure.legends[0], figure._suptitle]]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)


@pytest.mark.parametrize(("words", "labelled"), [(1, [0]), (3, [0, 1, 2]), (7, [2, 3, 4, 5, 6])])
def test_any_number_of_words(words, labelled):
    figure = raster(dense(words=words), WORDS[:words], "Words")
    assert len(visible(figure)) == words
    assert [number for number, axes in enumerate(figure.axes) if axes.get_xlabel()] == labelled


def test_no_words_make_an_empty_figure_and_too_few_an_error():
    assert "no measurements" in raster(dense(words=0), [], "Words").axes[0].texts[0].get_text()
    with pytest.raises(ValueError, match="9 words for trains of shape"):
        raster(dense(), WORDS[:9], "Words")


def test_the_same_figure_is_the_same_file_of_modest_size(tmp_path):
    for name in ("a", "b"):
        style.write(raster(dense(words=6, neurons=384), WORDS[:6], "Words"), tmp_path / name)
    for suffix in ("png", "svg"):
        content = (tmp_path / f"a.{suffix}").read_bytes()
        assert content == (tmp_path / f"b.{suffix}").read_bytes()
        assert len(content) < 1_000_000


def test_snntorch_draws_a_dense_train():
    spikeplot = pytest.importorskip("snntorch.spikeplot")
    torch = pytest.importorskip("torch")
    trains = dense(words=2)
    drawn = torch.from_numpy(SpikeTrain.from_dense(trains).to_dense())
    with style.paper():
        axes = style.sheet("snnTorch", 4, 3).add_subplot()
        spikeplot.raster(drawn[:, 1], axes, s=1.5, c="black")
    assert dots(axes) == set(map(tuple, np.argwhere(trains[:, 1]).tolist()))
