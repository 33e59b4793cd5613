"""What a key weighs in phase-shifted attention, by the micro-steps of query and key and the tokens between them.

`attention` never makes these weights, as it is linear in the tokens. They are

    W_h[t, s, n] = mean over i >= n of c g_h^n (q_h[t, i] . k_h[s, i - n]) [s = (t + f_h + p_h(i) - p_h(i - n)) mod T]

in its docstring's symbols, [.] being 1 where it is true and 0 elsewhere.
"""

from torch import Tensor, arange, einsum, stack, zeros

from pipeline.snn.attention import Shifts


def weights(q: Tensor, k: Tensor, shifts: Shifts, decay: Tensor) -> Tensor:
    """W float64 [H, T, T, N], means over the batch too, of spikes [T, B, N, H, d] and g [H]."""
    steps, batch, tokens, heads, dims = q.shape
    place = arange(tokens)
    distance = (place[:, None] - place).clamp(min=0)
    before = place[:, None] >= place
    turn = (shifts.heads[:, None, None] + shifts.tokens[:, :, None] - shifts.tokens[:, None]).long()  # [H, N, N]
    of_distance = decay.double()[:, None, None] ** distance * before / dims
    read = (arange(steps)[:, None, None, None] + turn) % steps  # [T, H, N, N]
    found = []
    for s in range(steps):
        products = einsum("tbihd,bjhd->thij", q.double(), k[s].double())
        one = products * of_distance * (read == s)
        found.append(zeros(steps, heads, tokens).double().index_add_(2, distance.flatten(), one.flatten(2)))
    return stack(found).permute(2, 1, 0, 3) / (batch * (tokens - place))
