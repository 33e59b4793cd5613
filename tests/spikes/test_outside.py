"""What lies outside of the calibrated range is the same for every code that is calibrated alike."""

import numpy as np
import pytest

from pipeline import codec as codecs
from pipeline.spikes import unit_interval
from pipeline.spikes.calibration import Choice
from pipeline.stage import UserError

CODES = [
    ("phase", "phase_1"), ("phase", "phase_8"), ("naf", "naf_2"), ("naf", "naf_16"), ("delta", "delta_3"),
    ("few_spikes", "few_spikes_2"), ("rate", "rate_4"), ("population", "population_4_4"), ("latency", "latency_16"),
    ("minimum_weight", "minimum_weight_3_5"), ("staggered", "staggered_2x2"), ("integrate_fire", "integrate_fire_4"),
    ("temporal_sigma_delta", "temporal_sigma_delta_4"), ("spike_peers", "norse:poisson_4"),
]  # fmt: skip


def fitted(module, name, x, beyond):
    codec = codecs.build(module, name, 0)
    codec.chosen = Choice(beyond=beyond)
    if module == "spike_peers":  # whose packages need not be there; its range is found without them
        codec.shared = unit_interval.fitted(x, codec.chosen)
        return codec
    return codec.fit(x)


@pytest.mark.parametrize(("module", "name"), CODES)
def test_outside_is_what_is_beyond_the_ends_of_the_range(module, name):
    x = np.random.default_rng(0).standard_normal((60, 9)).astype(np.float32)
    x[:, 4] = 0
    reach = np.abs(x).max(axis=0)
    clipping, refusing = (fitted(module, name, x, beyond) for beyond in ("clip", "refuse"))
    assert not clipping.outside(np.concatenate([x, -x, [reach, -reach]]).astype(np.float32)).any()
    if module != "spike_peers":
        refusing.encode(x)
    for value in (1.00001 * reach, -1.00001 * reach, 1.9 * reach, -1.9 * reach):
        assert clipping.outside(value[None]).tolist() == [[dimension != 4 for dimension in range(9)]]
    for dimension, value in ((3, 1.00001 * reach[3]), (3, -1.9 * reach[3]), (4, 5), (4, -1e-30)):
        beyond = x.copy()
        beyond[7, dimension] = value
        assert np.argwhere(clipping.outside(beyond)).tolist() == [[7, dimension]]
        with pytest.raises(UserError, match=f"vector 7: value .* of dimension {dimension} is outside of"):
            refusing.encode(beyond)
