"""Blocks are used again when, and only when, nothing lies in them."""

import torch

from pipeline.neurons.recycled import LEAST, Recycled

SHAPE = (LEAST // 4, 2)


def test_a_block_is_used_again_once_no_tensor_lies_in_it():
    memory = Recycled()
    first = memory.empty(SHAPE, torch.float32)
    place, row = first.data_ptr(), first[3]
    row.fill_(7)
    del first
    other = memory.empty(SHAPE, torch.float32)
    other.zero_()
    assert other.data_ptr() != place
    assert (row == 7).all()  # a view holds it
    del row
    assert memory.empty(SHAPE, torch.float32).data_ptr() == place


def test_shapes_and_types_are_those_asked_for_and_aligned():
    memory = Recycled()
    for dtype in (torch.float32, torch.float64):
        found = memory.empty((3, *SHAPE), dtype)
        assert (found.shape, found.dtype, found.is_contiguous()) == ((3, *SHAPE), dtype, True)
        assert found.data_ptr() % 64 == 0


def test_what_is_kept_is_bounded():
    size = SHAPE[0] * SHAPE[1] * 4
    memory = Recycled(kept=3 * size)
    for n in range(20):
        memory.empty((SHAPE[0] + n, 2), torch.float32)
    assert sum(len(one) for one in memory._blocks) <= 5 * (size + 400)


def test_autograd_and_a_saved_tensor_keep_a_block():
    memory = Recycled()
    x = memory.empty(SHAPE, torch.float32).fill_(2).requires_grad_()
    y = (x * x).sum()
    place = x.data_ptr()
    del x
    assert memory.empty(SHAPE, torch.float32).data_ptr() != place
    y.backward()
