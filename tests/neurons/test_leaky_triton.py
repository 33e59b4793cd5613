"""The Triton kernels against the reference, in Triton's interpreter (on a GPU too where there is one), and what they
are compiled to, which needs no GPU.

Whether kernels are interpreted is settled when they are defined, so the tests of what they compute run in a process of
their own, which collects this file again.
"""

import itertools
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import pipeline.neurons
from pipeline.neurons.frame import Frame, Neurons
from pipeline.neurons.fused import fused_leaky, kernels
from pipeline.neurons.leaky import leaky
from pipeline.neurons.surrogate import DEFAULTS, named

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
RESETS, BOUNDS = ("immediate", "delayed"), (-0.5, 1.2)

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")


def fused(current, *given):
    """`fused_leaky` by these kernels, of tensors that are brought to their device and back."""
    from pipeline.neurons import leaky_triton

    def there(one):
        if isinstance(one, tuple) and any(isinstance(part, torch.Tensor) for part in one):
            return type(one)(*map(there, one))
        return one.to(DEVICE) if isinstance(one, torch.Tensor) else one

    spikes, state = fused_leaky(there(current), *map(there, given), kernel=leaky_triton)
    return spikes.cpu(), type(state)(*(None if one is None else one.cpu() for one in state))


def check(*asked):
    from tests.neurons.test_leaky import agrees

    agrees(fused, *asked)


class TestKernels:
    __test__ = INTERPRETED or torch.cuda.is_available()

    @pytest.mark.parametrize(("reset", "adapts", "bounds"), [("delayed", False, None), ("immediate", True, BOUNDS)])
    def test_long_sequences(self, reset, adapts, bounds):
        check((256, 2, 20), torch.float32, reset, "atan", adapts, bounds)

    @pytest.mark.parametrize("slope", DEFAULTS)
    def test_all_dynamics_in_float64(self, slope):
        for dynamics in itertools.product(RESETS, (False, True), (None, BOUNDS)):
            check((7, 2, 3, 5), torch.float64, dynamics[0], slope, *dynamics[1:])

    @pytest.mark.parametrize("slope", DEFAULTS)
    def test_slopes_in_float32(self, slope):
        check((9, 3, 20), torch.float32, "immediate", slope, True, BOUNDS)

    @pytest.mark.parametrize("reset", RESETS)
    def test_rows_of_several_blocks(self, reset):
        check((4, 2, 700), torch.float32, reset, "atan", True, BOUNDS)

    @pytest.mark.parametrize("reset", RESETS)
    def test_at_the_threshold(self, reset):
        half = torch.full((20, 8), 0.5)
        half[0] = 1.0
        given = (half, torch.tensor(0.5), torch.tensor(1.0), reset)
        spikes = leaky(*given)[0]
        assert spikes[0].all() == (reset == "immediate")
        assert torch.equal(fused(*given)[0], spikes)

    def test_one_step_and_no_rows(self):
        for shape in ((1, 3, 20), (5, 0, 20)):
            given = (torch.rand(shape) * 2, torch.tensor(0.9), torch.tensor(1.0))
            assert torch.equal(fused(*given)[0], leaky(*given)[0])

    @pytest.mark.parametrize(("reset", "adapts"), [("immediate", False), ("delayed", True)])
    @pytest.mark.parametrize("steps", [16, 32, 37])
    def test_chunks(self, reset, adapts, steps):
        check((steps, 2, 20), torch.float32, reset, "atan", adapts, None)

    def test_the_current_is_kept_and_a_state_each_chunk(self):
        from pipeline.neurons import leaky_triton

        one, row = torch.rand(20, device=DEVICE), torch.rand(2, 20, device=DEVICE)
        neurons, frame = Neurons(one, one, one, one, row, row, row), Frame("delayed", named("atan"), True, None)
        for steps, shapes in ((5, []), (leaky_triton.CHUNK, []), (2 * leaky_triton.CHUNK + 1, [(3, 2, 2, 20)])):
            current = torch.rand(steps, 2, 20, device=DEVICE)
            kept, *marks = leaky_triton.forward(current, neurons, frame, True)[1]
            assert kept is current
            assert [one.shape for one in marks] == shapes
            assert leaky_triton.forward(current, neurons, frame, False)[1] == ()


class TestCompiled:
    __test__ = not INTERPRETED

    def test_in_the_interpreter(self):
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", __file__],
            cwd=root, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def test_a_gpu_has_these_kernels_where_triton_is(self, monkeypatch):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, "triton", None)
            without.delitem(sys.modules, "pipeline.neurons.leaky_triton", raising=False)
            without.delattr(pipeline.neurons, "leaky_triton", raising=False)
            assert kernels(torch.device("cuda")) is None
        assert kernels(torch.device("cuda")).__name__ == "pipeline.neurons.leaky_triton"
        assert kernels(torch.device("meta")) is None

    @pytest.mark.parametrize("reset", RESETS)
    @pytest.mark.parametrize("dtype", ["fp32", "fp64"])
    def test_every_operation_is_rounded_as_the_reference_rounds(self, reset, dtype, tmp_path, monkeypatch):
        import triton
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        from pipeline.neurons import leaky_triton as ours

        monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
        frame = Frame(reset, named("atan"), True, BOUNDS)
        for kernel, also in ((ours._forward, ()), (ours._backward, ours._slope(frame))):
            names = kernel.arg_names
            first = names.index("REST")
            given = (4, ours.CHUNK, ours.BLOCK, True, True, True, True, *ours._constants(frame), *also)
            fixed = dict(zip(names[first:], given, strict=True))
            kinds = dict.fromkeys(("steps", "places", "width"), "i32") | dict.fromkeys(fixed, "constexpr")
            signature = {name: kinds.get(name, f"*{dtype}") for name in names}
            source = ASTSource(kernel, signature, {(names.index(name),): fixed[name] for name in fixed})
            made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=ours.OPTIONS)
            assert not re.search(r"\bfma\.", made.asm["ptx"])
            assert not re.search(r"\.ftz\b", made.asm["ptx"])
            steps, wide = ours.CHUNK + 4, dtype == "fp64"
            leaks = steps + wide if reset == "immediate" else 0  # where all is float64, tau is one more
            slopes = steps if wide and also else 0  # float32's are approximate
            assert made.asm["ptx"].count(f"div.rn.f{dtype[2:]}") == leaks + slopes
