"""The guarantees on real vectors: those of the packaged tables, unit rows, calibrated on the fit rows of seed 0."""

from typing import NamedTuple

import numpy as np
import pytest

from pipeline import codec as codecs
from pipeline.embeddings import sentence, spacy_md
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.split import split
from pipeline.store import unit_rows

pytestmark = pytest.mark.slow

INTEGER_CODES = [
    *(("phase", f"phase_{bits}") for bits in (4, 8, 16)),
    *(("naf", f"naf_{bits}") for bits in (4, 8, 16)),
    ("minimum_weight", "minimum_weight_8_16"), ("staggered", "staggered_16x16_8"), ("latency", "latency_256"),
]  # fmt: skip


class Rows(NamedTuple):
    """Unit rows float32 [n, d]."""

    fit: np.ndarray
    unseen: np.ndarray


@pytest.fixture(scope="module")
def tables():
    """`spacy_md` whole; every other of its words through the sentence model: half the time.

    Far fewer would widen no range: of 2,000 the largest values are smaller, and a value has more spikes.
    """
    words = spacy_md.read(None, {})
    found = {"spacy_md": words, "minilm": sentence.read(Vocabulary(words.words[::2]), {})}
    parts = {name: (unit_rows(table.vectors), split(len(table.vectors), 0)) for name, table in found.items()}
    return {
        name: Rows(rows[part.fit], rows[np.concatenate([part.validation, part.test])])
        for name, (rows, part) in parts.items()
    }


@pytest.mark.parametrize("table", ["spacy_md", "minilm"])
@pytest.mark.parametrize(("module", "name"), INTEGER_CODES)
def test_every_integer_comes_back_and_values_are_half_a_step_off(tables, table, module, name):
    fit, unseen = tables[table]
    codec = codecs.build(module, name, 0).fit(fit)
    codes = codec.encode(unseen)
    assert (codec.stored_integers(codes) == codec.integers(unseen)).all()
    reach = np.abs(fit).max(axis=0).astype(np.float64)
    inside = np.abs(unseen) <= reach * (1 + 2e-6)
    np.testing.assert_array_equal(codec.outside(unseen), ~inside)
    assert 0 < (~inside).sum() < 0.01 * inside.size
    step = 2 * reach / (codec.highest - codec.lowest)
    assert len(np.unique(codec.integers(unseen))) > 0.7 * min(codec.highest - codec.lowest + 1, 20_000)
    within = np.clip(unseen, -reach, reach)  # what is outside comes back as the end of the range
    assert (np.abs(codec.decode(codes) - within) / step).max() <= 0.51


@pytest.mark.parametrize("table", ["spacy_md", "minilm"])
def test_transport_gives_the_nearest_bf16_of_every_value(tables, table):
    torch = pytest.importorskip("torch")
    fit, unseen = tables[table]
    codec = codecs.build("transport", "transport_bf16", 0).fit(fit)
    codes = codec.encode(unseen)
    assert (codec.stored_integers(codes) == codec.integers(unseen)).all()
    assert not codec.outside(unseen).any()
    nearest = torch.from_numpy(unseen).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(codec.decode(codes).view(np.uint32), nearest.view(np.uint32))


@pytest.mark.parametrize("table", ["spacy_md", "minilm"])
def test_minimum_weight_has_the_optimum_of_the_histogram_of_the_fit_rows(tables, table):
    fit = tables[table].fit
    codec = codecs.build("minimum_weight", "minimum_weight_8_16", 0).fit(fit)
    _, counts = np.unique(codec.integers(fit), return_counts=True)
    weights = sorted(word.bit_count() for word in range(2**16))
    least = sum(count * weight for count, weight in zip(sorted(counts.tolist(), reverse=True), weights, strict=False))
    assert codec.spike_train(codec.encode(fit)).spikes == least


@pytest.mark.parametrize(
    ("module", "name", "most"), [("naf", "naf_8", 2.35), ("minimum_weight", "minimum_weight_8_16", 1.85)]
)
def test_spikes_a_value_on_minilm(tables, module, name, most):
    fit, unseen = tables["minilm"]
    codec = codecs.build(module, name, 0).fit(fit)
    assert codec.spike_train(codec.encode(unseen)).spikes <= most * unseen.size
