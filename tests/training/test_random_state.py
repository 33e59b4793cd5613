import random

import numpy as np
import torch

from pipeline.training import random_state


def draw():
    """Odd numbers of normals: each generator keeps a spare one."""
    return [
        random.gauss(0, 1),
        random.random(),
        float(np.random.standard_normal()),  # noqa: NPY002
        float(np.random.random()),  # noqa: NPY002
        *torch.randn(3).tolist(),
    ]


def test_after_a_restore_the_same_numbers_come_again():
    random_state.seed(5, 0)
    draw()
    state = random_state.capture()
    first = draw()
    others = draw()
    random_state.restore({name: x.clone() for name, x in state.items()})
    assert draw() == first
    assert draw() == others


def test_seeds_and_processes_draw_different_numbers_and_the_same_ones_again():
    def drawn(seed, rank):
        random_state.seed(seed, rank)
        return draw()

    assert drawn(0, 1) == drawn(0, 1)
    columns = zip(*(drawn(seed, rank) for seed in (0, 1) for rank in (0, 1)), strict=True)
    assert all(len(set(column)) == 4 for column in columns)


def test_states_have_the_same_shape_whatever_was_drawn():
    random_state.seed(0, 0)
    before = {name: (x.shape, x.dtype) for name, x in random_state.capture().items()}
    draw()
    assert {name: (x.shape, x.dtype) for name, x in random_state.capture().items()} == before
