import numpy as np
import pytest

from pipeline.spikes import planes
from pipeline.stage import UserError


@pytest.mark.parametrize("block", [1, 7, 24, 1000])
def test_blocks_change_nothing(block, monkeypatch):
    monkeypatch.setattr(planes, "BLOCK", block)
    q = np.random.default_rng(0).integers(0, 2, (11, 3)).astype(np.int32)
    seen = []

    def fired(some):
        seen.append(len(some))
        yield np.repeat(some == 0, 2, axis=1)
        yield np.repeat(some == 1, 2, axis=1)

    train = planes.train(q, 2, fired, neurons_per_value=2)
    np.testing.assert_array_equal(train.to_dense(), np.repeat(np.stack([q == 0, q == 1]), 2, axis=2))
    assert max(seen) == min(11, max(1, block // 6))


def test_signs_stand_on_spikes_alone():
    q = np.array([[2, -1, 0, -2]], np.int32)
    train = planes.with_signs(planes.train(abs(q), 2, lambda some: (some > step for step in range(2))), q < 0)
    assert train.to_dense()[:, 0].tolist() == [[1, -1, 0, -1], [1, 0, 0, -1]]


def test_a_row_wider_than_a_block_is_taken_alone():
    assert list(planes.blocks(3, planes.BLOCK + 1)) == [slice(0, 1), slice(1, 2), slice(2, 3)]


def test_names():
    assert planes.timesteps("latency_256", "latency", least=2) == 256
    for wrong in ("latency", "latency_", "latency_016", "latency_-1", "Latency_4", "latency_4_8", "rate_4"):
        with pytest.raises(UserError, match=r"latency has no codec .*latency_<timesteps>"):
            planes.timesteps(wrong, "latency", least=2)
    for wrong in ("latency_0", "latency_1", "latency_4097"):
        with pytest.raises(UserError, match=f"'{wrong}': it takes at least latency_2, at most latency_4096"):
            planes.timesteps(wrong, "latency", least=2)
