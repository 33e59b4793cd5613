import pytest
import torch

from pipeline.training.schedule import learning_rate
from pipeline.training.settings import Settings

WEIGHTS = {"a": 1}


def test_the_warm_up_is_linear_and_ends_at_the_highest_rate():
    settings = Settings(100, 8, WEIGHTS, learning_rate=0.4, warmup_steps=4)
    assert [learning_rate(step, settings) for step in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])


def test_the_cosine_is_torchs_own():
    settings = Settings(30, 8, WEIGHTS, learning_rate=0.4, warmup_steps=10, final_share=0.1)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4)
    peer = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.04)
    for step in range(10, 31):
        assert learning_rate(step, settings) == pytest.approx(peer.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        peer.step()
    assert learning_rate(20, settings) == pytest.approx((0.4 + 0.04) / 2)
    assert learning_rate(99, settings) == pytest.approx(0.04)


def test_a_run_that_is_all_warm_up_has_no_cosine():
    assert learning_rate(3, Settings(3, 8, WEIGHTS, learning_rate=0.3, warmup_steps=3, final_share=1)) == 0.3
