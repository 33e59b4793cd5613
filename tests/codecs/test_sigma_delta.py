import numpy as np
import pytest

from pipeline import bits
from pipeline.codec import Codes, NotApplicableError, load, save, shared_bytes
from pipeline.codecs import binary, dual, projection, ternary
from pipeline.codecs.sigma_delta import build
from pipeline.evaluation.ledger import shares
from pipeline.neurons import sigma_delta as modulator
from pipeline.stage import UserError

NAMES = [
    *[f"sigma_delta_{order}_96{frame}{free}" for order in ("r1", "r2", "r3") for frame in ("", "_sparse", "_smooth")
      for free in ("", "_dual")],
    *["sigma_delta_greedy_96", "sigma_delta_greedy_96_dual", "sigma_delta_greedy_96_sparse"],
]  # fmt: skip
DIMS = 12
FREE = [name for name in NAMES if name.endswith("_dual")]


def rows(count: int, dims: int = DIMS, seed: int = 0) -> np.ndarray:
    """Unit rows around a mean, of unequal variances."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, dims)) * np.linspace(1, 0.3, dims) + 0.4
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def smooth(x: np.ndarray, steps: int, seed: int) -> np.ndarray:
    return projection.oversampled(projection.turned(x, seed), steps)


def relative_mse(x: np.ndarray, decoded: np.ndarray) -> float:
    return float(((x - decoded) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum())


@pytest.fixture(params=NAMES)
def codec(request):
    return build(request.param, 3).fit(rows(200))


def test_sizes_are_the_bits_and_a_scale_and_shared_is_what_the_docstring_says(codec) -> None:
    codes = codec.encode(rows(7))
    assert codes.nbytes == 7 * (96 // 8 + 2)
    small = 8 + 4 * DIMS + 4  # seed, mean, unit
    solved = {"": 2 * DIMS**2, "sparse": 2 * DIMS**2, "smooth": 2 * DIMS**2 + 4 * DIMS}[codec.frame]
    assert shared_bytes(codec) == small + (solved if codec.solved else 0)


def test_the_ledger_calls_what_was_solved_for_the_decoder(codec) -> None:
    small = 8 + 4 * DIMS + 4
    assert shares(codec) == (small, shared_bytes(codec) - small)
    assert codec.solved == (shares(codec).decoder > 0)


def test_every_vector_is_driven_inside_the_stable_bound(codec) -> None:
    x = rows(300, seed=1) * np.geomspace(1e-3, 1e3, 300)[:, None].astype(np.float32)
    codes = codec.encode(x)
    scale = codes["level"].astype(np.float64) * codec.shared["unit"]
    drive = codec._drive(x - codec.shared["mean"]).astype(np.float64)
    if codec.order == 0:
        np.testing.assert_allclose(scale, np.abs(drive).mean(axis=0), rtol=2e-3)
        return
    limit = float(modulator.bound(codec.order))
    peaks = np.abs(drive).max(axis=0) / scale
    assert (peaks <= limit).all()
    assert (peaks >= 0.998 * limit).all()  # and no lower than the scale's rounding makes it


def test_the_bits_are_the_modulators(codec) -> None:
    x = rows(9, seed=2)
    codes = codec.encode(x)
    scale = codes["level"].astype(np.float32) * codec.shared["unit"]
    q, _ = modulator.reference(codec._drive(x - codec.shared["mean"]) / scale, codec.order)
    assert (bits.signs(codes["bits"], 96) == q.T).mean() > 0.999  # a drive's last bit may hang on the block's size


@pytest.mark.parametrize("name", FREE)
def test_the_training_free_decoder_is_the_dual_frame(name: str) -> None:
    x = rows(40, seed=4)
    codec = build(name, 5).fit(x)
    codes = codec.encode(x)
    unit = np.eye(DIMS, dtype=np.float32)
    draw = {"": projection.fast_jl, "sparse": projection.sparse_gaussian, "smooth": smooth}[codec.frame]
    frame = draw(unit, 96, 5)
    scale = codes["level"].astype(np.float64) * codec.shared["unit"]
    found = bits.signs(codes["bits"], 96) @ dual.sobolev(frame, dual.noise_filter(codec.order)).T
    np.testing.assert_allclose(codec.decode(codes), found * scale[:, None] + x.mean(axis=0), atol=1e-5)


def test_it_needs_no_training_but_the_mean_and_a_unit() -> None:
    x = rows(50)
    for name in FREE:
        codec = build(name, 1).fit(x)
        assert codec.shared.keys() == {"seed", "mean", "unit"}
        np.testing.assert_allclose(codec.shared["mean"], x.mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize("frame", ["", "_sparse", "_smooth"])
def test_the_solved_decoder_is_better_on_unseen_rows_than_the_one_without_training(frame: str) -> None:
    fitted, unseen = rows(800, 30), rows(300, 30, seed=1)
    errors = {}
    for free in ("", "_dual"):
        codec = build(f"sigma_delta_r2_128{frame}{free}", 0).fit(fitted)
        errors[free] = relative_mse(unseen, codec.decode(codec.encode(unseen)))
    assert errors[""] < 0.8 * errors["_dual"]


def test_the_smooth_frame_puts_the_largest_component_at_the_lowest_frequency() -> None:
    x = rows(300)
    codec = build("sigma_delta_r1_64_smooth", 0).fit(x)
    basis = codec.shared["basis"].astype(np.float64)
    np.testing.assert_allclose(basis.T @ basis, np.eye(DIMS), atol=3e-3)
    spread = ((x - x.mean(axis=0)) @ basis).var(axis=0)
    np.testing.assert_allclose(spread, np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1], rtol=0.02, atol=1e-6)


def test_more_bits_tell_more_and_feedback_tells_more_than_none() -> None:
    x = rows(300)

    def error(name: str) -> float:
        codec = build(name, 0).fit(x)
        return relative_mse(x, codec.decode(codec.encode(x)))

    for frame in ("", "_smooth"):
        errors = [error(f"sigma_delta_r2_{steps}{frame}") for steps in (64, 256, 1024)]
        assert errors[0] > 4 * errors[1] > 16 * errors[2]
    assert error("sigma_delta_r2_1024_dual") < 0.1 * error("sigma_delta_greedy_1024_dual")
    assert error("sigma_delta_r2_256_smooth") < 0.5 * error("sigma_delta_r2_256")


def test_searches_against_brute_force() -> None:
    x, asked = rows(150), rows(12, seed=1)
    codec = build("sigma_delta_r2_200", 2).fit(x)
    window, codes = codec.window, codec.encode(x)

    def sums(series: np.ndarray, scale: np.ndarray) -> np.ndarray:
        blocks = series[:, : window.blocks * window.size].reshape(len(series), window.blocks, window.size)
        return blocks @ window.coefficients * scale[:, None]

    def scale(codes: Codes) -> np.ndarray:
        return codes["level"].astype(np.float64) * codec.shared["unit"]

    base = sums(bits.signs(codes["bits"], 200), scale(codes))
    own = codec.encode(asked)
    drive = codec._drive(asked - codec.shared["mean"]).T
    queries = {
        "native": sums(bits.signs(own["bits"], 200), scale(own)),
        "asymmetric": sums(drive, np.ones(len(drive))),
    }
    assert codec.searches == tuple(queries)
    for rule, query in queries.items():
        distances = np.abs(query[:, None] - base[None]).sum(axis=2)
        found = np.take_along_axis(distances, codec.searcher(rule, codes)(asked, 5), axis=1)
        np.testing.assert_allclose(found, np.sort(distances, axis=1)[:, :5], rtol=1e-5)


def test_condensed_codes_estimate_distances() -> None:
    x = rows(60, 64)
    codec = build("sigma_delta_r2_8192", 1).fit(x)
    sums = codec.condensed(codec.encode(x))
    true = np.linalg.norm(x[:30] - x[30:], axis=1)
    found = np.abs(sums[:30] - sums[30:]).sum(axis=1)
    assert np.mean(np.abs(found / true - 1)) < 0.06  # p = 356: the floor is 0.032
    assert np.mean(found / true) == pytest.approx(1, abs=0.06)


def test_greedy_codes_are_searched_by_hamming_distance() -> None:
    x, asked = rows(150), rows(12, seed=1)
    codec = build("sigma_delta_greedy_93", 2).fit(x)
    assert (codec.searches, codec.compares) == (("hamming",), ("hamming",))
    frame = projection.fast_jl(np.eye(DIMS, dtype=np.float32), 93, 2)
    base, query = ((part - x.mean(axis=0)) @ frame.T >= 0 for part in (x, asked))
    distances = (query[:, None] != base[None]).sum(axis=2)
    codes = codec.encode(x)
    found = codec.searcher("hamming", codes)(asked, 5)
    np.testing.assert_array_equal(np.take_along_axis(distances, found, axis=1), np.sort(distances, axis=1)[:, :5])
    np.testing.assert_allclose(
        codec.similarity("hamming", codec.encode(asked), codes), 1 - 2 * distances / 93, atol=1e-6
    )


def test_a_saved_file_holds_the_seed_that_its_frame_is_drawn_from(tmp_path) -> None:
    x = rows(40)
    codec = build("sigma_delta_r1_64_dual", 9).fit(x)
    save(codec, "sigma_delta", tmp_path / "codec", {})  # no seed among the facts
    again = load(tmp_path / "codec")
    np.testing.assert_array_equal(again.decode(again.encode(x)), codec.decode(codec.encode(x)))
    other = build("sigma_delta_r1_64_dual", 8).fit(x)
    assert (other.encode(x)["bits"] != codec.encode(x)["bits"]).any()


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_constant_data_decode_to_the_constant(value: float, codec) -> None:
    x = np.full((20, DIMS), value, np.float32)
    fitted = build(codec.name, 0).fit(x)
    np.testing.assert_allclose(fitted.decode(fitted.encode(x)), x, atol=1e-6)


@pytest.mark.parametrize("name", ["sigma_delta_r2_8", "sigma_delta_r1_1", "sigma_delta_r3_5_smooth",
                                  "sigma_delta_r1_64_dual"])  # fmt: skip
def test_one_dimension(name: str) -> None:
    x = np.array([[-1], [1], [1], [-1], [1]], np.float32)
    codec = build(name, 0).fit(x)
    assert np.isfinite(codec.decode(codec.encode(x))).all()


def test_fewer_vectors_than_dimensions() -> None:
    x = rows(3, 40)
    for name in ("sigma_delta_r2_128", "sigma_delta_r2_128_smooth", "sigma_delta_r1_128_dual"):
        codec = build(name, 0).fit(x)
        assert np.isfinite(codec.decode(codec.encode(rows(9, 40, 1)))).all()


def test_a_zero_vector_among_others_is_the_mean() -> None:
    x = rows(30)
    codec = build("sigma_delta_r2_64_dual", 0).fit(x)
    np.testing.assert_allclose(codec.decode(codec.encode(codec.shared["mean"][None]))[0], codec.shared["mean"])


def test_fewer_bits_than_dimensions_are_not_applicable() -> None:
    for name in ("sigma_delta_r2_11", "sigma_delta_r1_11_smooth", "sigma_delta_greedy_11"):
        with pytest.raises(NotApplicableError, match="11 bits are fewer than 12 dimensions"):
            build(name, 0).fit(rows(30))


def test_a_frame_that_has_no_dual_is_not_applicable() -> None:
    with pytest.raises(NotApplicableError, match="does not tell all vectors"):
        build("sigma_delta_r1_12_sparse", 0).fit(rows(30))


def test_sizes_beyond_what_numbers_hold_are_refused() -> None:
    codec = build("sigma_delta_r2_64", 0).fit(rows(30))
    x = rows(4)
    x[2] *= 1e6
    with pytest.raises(UserError, match="vector 2 is over 65,504 times as large"):
        codec.encode(x)
    for large in (1e32, 3e38):
        with pytest.raises(UserError, match="too large for float32"):
            build("sigma_delta_r2_64", 0).fit((rows(30) * large).clip(-3e38, 3e38).astype(np.float32))
    small = build("sigma_delta_r2_64", 0).fit(rows(30) * np.float32(1e-30))
    assert np.isfinite(small.decode(small.encode(rows(30) * np.float32(1e-30)))).all()


def test_codes_of_another_codec_or_length_are_refused() -> None:
    x = rows(30)
    codec = build("sigma_delta_r2_60", 0).fit(x)
    others = {
        "a vector has bits uint8.9., level float16; expected is bits uint8.8.": build("sigma_delta_r2_70", 0).fit(x),
        "vector [0-9]+ has more than 60 bits": build("sigma_delta_r2_64", 0).fit(x),
        "a vector has bits uint8.2.; expected is bits": binary.build("sign", 0).fit(x),
        "a vector has trits strings; expected is bits": ternary.build("ternary_entropy", 0).fit(x),
    }
    for message, other in others.items():
        foreign = other.encode(x)
        for use in (codec.decode, lambda codes: codec.searcher("native", codes)):
            with pytest.raises(UserError, match=f"sigma_delta_r2_60: codes of another .*{message}"):
                use(foreign)
    greedy = build("sigma_delta_greedy_64", 0).fit(x)
    with pytest.raises(UserError, match="codes of another"):
        greedy.similarity("hamming", greedy.encode(x), build("sigma_delta_greedy_80", 0).fit(x).encode(x))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1.0])
def test_a_damaged_level_is_named_and_does_not_decode(wrong: float) -> None:
    codec = build("sigma_delta_r2_64", 0).fit(rows(30))
    codes = codec.encode(rows(5))
    codes["level"][3] = wrong
    with pytest.raises(UserError, match=f"damaged codes: the level of vector 3 is {wrong}"):
        codec.decode(codes)


@pytest.mark.parametrize("steps", range(1, 8))
def test_a_handful_of_bits_decodes_what_it_can_and_refuses_the_rest(steps: int) -> None:
    x = rows(30, steps)
    for order in ("greedy", "r1", "r2", "r3"):
        codec = build(f"sigma_delta_{order}_{steps}", 0)
        codec.fit(x)
        assert codec.encode(x).nbytes == 30 * 3
        assert np.isfinite(codec.decode(codec.encode(x))).all()
        for rule in codec.searches:
            found = codec.searcher(rule, codec.encode(x))(x, 3)
            assert found.shape == (30, 3)
        with pytest.raises(NotApplicableError, match=f"{steps} bits are fewer than {steps + 1} dimensions"):
            codec.fit(rows(30, steps + 1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sigma_delta_r4_64", "no stable modulator of order 4"),
        ("sigma_delta_r0_64", "no stable modulator of order 0"),
        ("sigma_delta_r2_0", "0 bits"),
        ("sigma_delta_r2_2000000", "2000000 bits"),
        ("sigma_delta_greedy_64_smooth", "smooth frame is for modulators with feedback"),
        *((name, "sigma_delta has no codec") for name in ("sigma_delta_r2", "sigma_delta_r2_64_", "sigma_delta", "")),
        ("sigma_delta_r2_64_dual_smooth", "sigma_delta has no codec"),
    ],
)
def test_names_that_there_are_not(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(name, 0)
