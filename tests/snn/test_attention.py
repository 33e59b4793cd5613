import itertools

import pytest
import torch

from pipeline.snn.attention import Phases, PhaseShiftedAttention, Shifts, attend, causal, decays, operations

T, B, N, H, D = 4, 2, 11, 3, 5


def spikes(seed, count=3):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand((T, B, N, H, D), generator=generator) < 0.4).double() for _ in range(count)]


def equation(q, k, v, shifts, decay):
    """The sum of the module's docstring, term by term."""
    out = torch.zeros_like(q)
    for t, b, i, h in itertools.product(range(T), range(B), range(N), range(H)):
        for j in range(i + 1):
            phase = shifts.heads[h] + shifts.tokens[h, i] - shifts.tokens[h, j]
            s = int((t + phase) % T)
            out[t, b, i, h] += decay[h] ** (i - j) * (q[t, b, i, h] @ k[s, b, j, h]) * v[s, b, j, h] / D
    return out


@pytest.mark.parametrize("kind", ["none", "constant", "fixed", "learned"])
@pytest.mark.parametrize("chunk", [64, 4])
def test_it_is_the_equation_in_one_chunk_and_in_many(kind, chunk):
    q, k, v = spikes(0)
    decay = torch.tensor([1.0, 0.9, 0.5], dtype=torch.float64)
    shifts = Shifts(*(one.detach().double() for one in Phases(H, T, N, kind)(N)))
    found = attend(q, k, v, shifts, decay, chunk)
    torch.testing.assert_close(found, equation(q, k, v, shifts, decay), rtol=1e-12, atol=1e-12)


def test_a_shift_moves_phases_and_a_pace_moves_them_along_the_tokens():
    none, constant, fixed = (Phases(3, 4, 16, kind)(16) for kind in ("none", "constant", "fixed"))
    assert not none.tokens.any()
    assert not none.heads.any()
    assert not constant.tokens.any()
    assert constant.heads.tolist() == fixed.heads.tolist() == [0, 1, 2]
    assert fixed.tokens[0].tolist() == list(range(16))  # a micro-step a token
    assert fixed.tokens[1].tolist() == [i // 2 for i in range(16)]
    assert fixed.tokens[2].tolist() == [i // 4 for i in range(16)]  # once round in the whole length


def test_a_pace_of_a_third_is_a_whole_step_at_each_third_token():
    fixed = Phases(4, 3, 81, "fixed")(81)  # (3 / 81) ** (1 / 3), a little less in float32
    assert fixed.tokens[1].tolist() == [i // 3 for i in range(81)]


def test_learned_shifts_begin_as_the_fixed_and_half_a_step_from_any_other():
    fixed, learned = Phases(3, 4, 16, "fixed"), Phases(3, 4, 16, "learned")
    assert learned(16).heads.tolist() == fixed(16).heads.tolist()
    for move in (-0.49, 0.49):
        moved = Phases(3, 4, 16, "learned")
        with torch.no_grad():
            moved.shift += move
        assert moved(16).heads.tolist() == fixed(16).heads.tolist()


def test_a_later_token_changes_no_bit_of_an_earlier_output():
    q, k, v = (one.float() for one in spikes(1))
    shifts = Phases(H, T, N, "fixed")(N)
    before = attend(q, k, v, shifts, decays(H, "fixed"), 4)
    for j in range(N):
        others = [one.clone() for one in (q, k, v)]
        for one in others:
            one[:, :, j] = 1 - one[:, :, j]
        after = attend(*others, shifts, decays(H, "fixed"), 4)
        assert torch.equal(after[:, :, :j], before[:, :, :j])
        assert not torch.equal(after[:, :, j], before[:, :, j])


def test_without_decay_and_phases_the_past_is_a_bag_and_with_phases_it_is_not():
    q, k, v = spikes(2)
    turned = torch.tensor([*range(N - 2, -1, -1), N - 1])
    one = torch.ones(H, dtype=torch.float64)
    for kind, same in (("none", True), ("constant", True), ("fixed", False)):
        shifts = Shifts(*(x.double() for x in Phases(H, T, N, kind)(N)))
        last = [attend(q, a, b, shifts, one)[:, :, -1] for a, b in ((k, v), (k[:, :, turned], v[:, :, turned]))]
        assert torch.allclose(*last) == same


def test_gradients_of_spikes_are_those_of_the_equation():
    q, k, v = (one.requires_grad_() for one in spikes(3))
    shifts = Shifts(*(x.double() for x in Phases(H, T, N, "fixed")(N)))
    decay = torch.tensor([1.0, 0.9, 0.5], dtype=torch.float64)
    weight = torch.randn(T, B, N, H, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = torch.autograd.grad((attend(q, k, v, shifts, decay, 4) * weight).sum(), (q, k, v))
    expected = torch.autograd.grad((equation(q, k, v, shifts, decay) * weight).sum(), (q, k, v))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_gradients_of_shifts_are_those_of_linear_interpolation_between_micro_steps():
    """Every roll of q, k, v and o drawn as (1 - r) roll(n) + r roll(n + 1), differentiated at r = 0 by autograd."""
    q, k, v = spikes(4)
    whole = Shifts(*(x.double() for x in Phases(H, T, N, "fixed")(N)))
    weight = torch.randn(T, B, N, H, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    decay = torch.ones(H, dtype=torch.float64)

    def rolled(x, shift, back):
        low, rest = shift.detach(), shift - shift.detach()
        out = torch.zeros_like(x)
        for h, n, t in itertools.product(range(H), range(N), range(T)):
            at, further = ((t + back * (low[h, n] + more)) % T for more in (0, 1))
            r = rest[h, n]
            out[t, :, n, h] = (1 - r) * x[int(at), :, n, h] + r * x[int(further), :, n, h]
        return out

    def smooth(shifts):
        of_query = shifts.tokens + shifts.heads[:, None]
        a, b, c = rolled(q, of_query, -1), rolled(k, shifts.tokens, -1), rolled(v, shifts.tokens, -1)
        heard = causal(*(x.transpose(2, 3) for x in (a, b, c)), decay).transpose(2, 3) / D
        return rolled(heard, of_query, 1)

    gradients = []
    for form in (smooth, lambda shifts: attend(q, k, v, shifts, decay)):
        shifts = Shifts(*(x.clone().requires_grad_() for x in whole))
        gradients.append(torch.autograd.grad((form(shifts) * weight).sum(), tuple(shifts)))
    for one, other in zip(*gradients, strict=True):
        assert one.abs().sum() > 0
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_learned_shifts_get_gradients_through_their_floor():
    phases, attention = Phases(H, T, N, "learned"), PhaseShiftedAttention(H, "learned")
    q, k, v = (one.float().flatten(-2) for one in spikes(5))
    (attention(q, k, v, phases(N)) ** 2).sum().backward()
    assert all(one.grad.abs().sum() > 0 for one in (phases.turn, phases.shift, attention.decay_logit))


def test_operations_are_those_of_a_machine_that_walks_through_the_spikes():
    q, k, v = spikes(6)
    shifts = Phases(H, T, N, "fixed")(N)
    done, out = 0, torch.zeros_like(q)
    for u, b, h in itertools.product(range(T), range(B), range(H)):
        state = torch.zeros(D, D, dtype=torch.float64)
        for i in range(N):
            p, f = int(shifts.tokens[h, i]), int(shifts.heads[h])
            key, value, query = k[(u - p) % T, b, i, h], v[(u - p) % T, b, i, h], q[(u - p - f) % T, b, i, h]
            for row, column in itertools.product(key.nonzero().flatten(), value.nonzero().flatten()):
                state[row, column] += 1
                done += 1
            for row in query.nonzero().flatten():
                out[(u - p - f) % T, b, i, h] += state[row] / D
                done += D
    torch.testing.assert_close(out, attend(q, k, v, shifts, torch.ones(H, dtype=torch.float64)))
    counted = operations(q, k, v, decaying=False)
    assert counted == {"accumulates": done, "decays": 0, "state": T * H * D * D}
    assert operations(q, k, v, decaying=True)["decays"] == T * B * H * N * D * D
    silent = torch.zeros_like(q)
    assert operations(silent, silent, silent, decaying=False)["accumulates"] == 0


def test_no_micro_steps_and_foreign_shifts_are_refused():
    q, k, v = spikes(0)
    with pytest.raises(ValueError, match="T is 0"):
        attend(q[:0], k[:0], v[:0], Phases(H, T, N, "none")(N), torch.ones(H))
    with pytest.raises(ValueError, match="for 3 heads and 11 tokens"):
        attend(q, k, v, Phases(H, T, N, "none")(N - 1), torch.ones(H))
