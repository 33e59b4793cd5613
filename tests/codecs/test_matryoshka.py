"""The trained nested codes: prefixes, forms of the network, search by bits, and what training is worth."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from pipeline import stage
from pipeline.codec import build, load, save, shared_bytes
from pipeline.codecs import iterative_quantization, matryoshka, nested_training, residual_network
from pipeline.codecs.nested_plan import Plan, plan_of
from pipeline.stage import UserError

SETTINGS = {
    **{"steps": 400, "batch": 128, "evaluate_every": 100, "learning_rate": 0.01},
    **{"metric": "error", "larger_is_better": False, "weights": {"reconstruction": 1, "ranking": 0}},
}
FEW = {"sizes": [16], "hidden": 32, "settings": {"steps": 2, "batch": 32, "warmup_steps": 0}}
PLAN = {"sizes": [16, 32, 64], "hidden": 96, "dropout": 0.1, "settings": SETTINGS}
NAMES = [
    *(f"matryoshka_{bits}" for bits in (16, 32, 64, 128)),
    *(
        "matryoshka_32_float",
        "matryoshka_32_ternary",
        "matryoshka_32_planes",
        "matryoshka_64_planes_float",
        "matryoshka_16_signs",
    ),
]


def rows(count, seed):
    """Rows on a bent surface: components are uncorrelated and not independent, so a linear decoder is not the best."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((count, 6)) * 0.8 ** np.arange(6)
    bent = np.concatenate([z, z[:, :3] ** 2 - z[:, :3].var(), z[:, :1] * z[:, 1:4], np.tanh(3 * z[:, :4])], axis=1)
    mixed = bent @ np.random.default_rng(0).standard_normal((bent.shape[1], 24))
    x = mixed + 0.05 * rng.standard_normal(mixed.shape)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def error(codec, x):
    return float(np.square(codec.decode(codec.encode(x)) - x).sum())


@pytest.fixture(scope="module")
def fitted():
    return matryoshka.fit_together(NAMES, 0, rows(1500, 1), PLAN)


@pytest.fixture(scope="module")
def unseen():
    return rows(400, 2)


@pytest.mark.parametrize("name", ["matryoshka_32", "matryoshka_64", "matryoshka_32_planes", "matryoshka_32_ternary"])
def test_training_lowers_the_error_of_unseen_rows(fitted, unseen, name):
    codec = fitted[name]
    closed = build("matryoshka", name, 0)
    closed.shared = {key: array for key, array in codec.shared.items() if not key.startswith("network_")}
    # The first codes are those of the closed form: what is left without the network has its error, or nearly.
    assert error(codec, unseen) < 0.9 * error(closed, unseen)


def test_prefixes_are_codes(fitted, unseen):
    for whole, shorter in (("matryoshka_64", "matryoshka_32"), ("matryoshka_64_planes_float", None)):
        codes = fitted[whole].encode(unseen)
        prefix = fitted[whole].prefix(32)
        array = prefix.array
        np.testing.assert_array_equal(codes[array][:, :4], prefix.encode(unseen)[array])
        assert prefix.bits == 32
        if shorter:
            np.testing.assert_array_equal(prefix.encode(unseen)[array], fitted[shorter].encode(unseen)[array])
            decoded = [codec.decode(codec.encode(unseen)) for codec in (prefix, fitted[shorter])]
            np.testing.assert_allclose(decoded[0], decoded[1], atol=2e-3)  # int8 columns are scaled by other rows
        assert shared_bytes(prefix) <= shared_bytes(fitted[whole])


@pytest.mark.parametrize("name", ["matryoshka_64", "matryoshka_32_ternary", "matryoshka_32_planes"])
def test_a_prefix_of_any_size_decodes(fitted, unseen, name):
    errors = [error(fitted[name].prefix(bits), unseen) for bits in (8, 16, 24, 32)]
    assert errors == sorted(errors, reverse=True)


def test_error_falls_with_every_size(fitted, unseen):
    errors = [error(fitted[f"matryoshka_{bits}"], unseen) for bits in (16, 32, 64, 128)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]


def test_a_long_code_holds_the_network_for_its_prefixes_alone(fitted, unseen):
    long, short = fitted["matryoshka_128"], fitted["matryoshka_32"]
    closed = build("matryoshka", "matryoshka_128", 0)
    closed.shared = {key: array for key, array in long.shared.items() if not key.startswith("network_")}
    np.testing.assert_array_equal(long.decode(long.encode(unseen)), closed.decode(long.encode(unseen)))
    prefix = long.prefix(32)
    np.testing.assert_array_equal(prefix.encode(unseen)["bits"], short.encode(unseen)["bits"])
    np.testing.assert_allclose(prefix.decode(prefix.encode(unseen)), short.decode(short.encode(unseen)), atol=2e-3)


def test_sizes_between_the_largest_that_is_trained_and_twice_it_have_more_components():
    x = np.random.default_rng(0).standard_normal((300, 60)).astype(np.float32) * 0.95 ** np.arange(60, dtype=np.float32)
    found = matryoshka.fit_together(["matryoshka_40", "matryoshka_32"], 0, x, {**PLAN, "sizes": [16, 32]})
    components = [len(found[f"matryoshka_{bits}"].shared["reach"]) for bits in (32, 40)]
    assert components[1] > components[0]
    assert error(found["matryoshka_40"], x) < error(found["matryoshka_32"], x)


def test_a_prefix_shares_what_a_code_of_that_size_shares(fitted):
    for name in ("matryoshka_64", "matryoshka_128"):
        prefix = fitted[name].prefix(32)
        assert {key: array.shape for key, array in prefix.shared.items() if array.size} == {
            key: array.shape for key, array in fitted["matryoshka_32"].shared.items() if array.size
        }


def test_forms_of_the_network_share_less_and_less(fitted, unseen):
    sizes = [shared_bytes(fitted[f"matryoshka_32{form}"]) for form in ("_float", "", "_ternary")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 2 * sizes[2]
    plain, exact = (fitted[f"matryoshka_32{form}"] for form in ("", "_float"))
    np.testing.assert_array_equal(plain.encode(unseen)["bits"], exact.encode(unseen)["bits"])
    assert error(plain, unseen) == pytest.approx(error(exact, unseen), rel=0.01)


@pytest.mark.parametrize("name", ["matryoshka_32", "matryoshka_32_ternary", "matryoshka_32_planes"])
def test_a_saved_codec_decodes_as_before(fitted, unseen, tmp_path, name):
    codec = fitted[name]
    save(codec, "matryoshka", tmp_path / "codec.safetensors", {"seed": 0})
    again = load(tmp_path / "codec.safetensors")
    assert {array.dtype for array in again.shared.values()} == {array.dtype for array in codec.shared.values()}
    np.testing.assert_array_equal(again.decode(again.encode(unseen)), codec.decode(codec.encode(unseen)))


@pytest.mark.parametrize("name", ["matryoshka_64", "matryoshka_16_signs"])
def test_hamming_compares_stored_bits(fitted, unseen, name):
    codec = fitted[name]
    codes = codec.encode(unseen)
    unpacked = np.unpackbits(codes["bits"], axis=1).astype(np.float32) * 2 - 1
    similarity = codec.similarity("hamming", codes, codes)
    np.testing.assert_allclose(similarity, unpacked @ unpacked.T / codec.bits, atol=1e-6)
    best = codec.searcher("hamming", codes)(unseen[:20], 1)[:, 0]
    np.testing.assert_array_equal(similarity[np.arange(20), best], similarity[:20].max(axis=1))
    assert "hamming" not in fitted["matryoshka_32_planes"].searches


def test_signs_are_a_bit_an_axis_and_counting_them_finds_more_than_counting_bits_with_places(fitted, unseen):
    signs = fitted["matryoshka_16_signs"]
    assert sorted(signs.shared["order"].tolist()) == list(range(16))
    true = np.argsort(-(unseen @ unseen.T), axis=1)[:, 1:11]
    kept = []
    for name in ("matryoshka_16_signs", "matryoshka_16"):
        similarity = fitted[name].similarity("hamming", *[fitted[name].encode(unseen)] * 2)
        near = np.argsort(-similarity, axis=1, kind="stable")
        near = np.array([[j for j in row if j != i][:10] for i, row in enumerate(near)])
        kept.append(np.mean([len(np.intersect1d(*pair)) for pair in zip(near, true, strict=True)]) / 10)
    assert kept[0] > kept[1]


def test_the_rotation_is_orthogonal_and_each_turn_brings_signs_nearer():
    y = np.random.default_rng(0).standard_normal((500, 8)) * 0.7 ** np.arange(8)

    def distance(turned):
        return np.square(np.where(turned > 0, 1, -1) - turned).sum()

    found = iterative_quantization.rotation(y, 0)
    np.testing.assert_allclose(found @ found.T, np.eye(8), atol=1e-12)
    start = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0]
    assert distance(y @ found) < distance(y @ start)
    again = np.linalg.svd(y.T @ np.where(y @ found > 0, 1.0, -1.0))
    assert distance(y @ (again[0] @ again[2])) <= distance(y @ found) + 1e-9


def test_the_same_rows_plan_and_seed_give_the_same_codec(fitted):
    again = matryoshka.fit_together(["matryoshka_32", "matryoshka_16"], 0, rows(1500, 1), PLAN)["matryoshka_32"]
    for name, array in fitted["matryoshka_32"].shared.items():
        np.testing.assert_array_equal(again.shared[name], array, err_msg=name)


def test_an_encoder_that_learns_makes_other_bits(unseen):
    codes = []
    for rate in (0.0, 0.01):
        plan = {**PLAN, "encoder_rate": rate}
        found = matryoshka.fit_together(["matryoshka_64"], 0, rows(1500, 1), plan)["matryoshka_64"]
        codes.append(found.encode(unseen)["bits"])
    differing = np.unpackbits(codes[0] ^ codes[1], axis=1).mean()
    assert 0.0001 < differing < 0.3


def test_an_int8_network_fits_below_the_bound():
    x = rows(600, 3)
    found = matryoshka.fit_together(["matryoshka_64", "matryoshka_32_planes"], 0, x, {**PLAN, "hidden": 4096})
    for codec in found.values():
        assert shared_bytes(codec) <= 4 * 24 * (24 + 256), codec.name
    assert found["matryoshka_64"].shared["network_inner"].shape[1] > 96


def test_few_rows_and_few_dimensions_have_the_closed_form_alone():
    for x in (rows(30, 1), rows(300, 1)[:, :2].copy()):
        codec = matryoshka.fit_together(["matryoshka_64"], 0, x, PLAN)["matryoshka_64"]
        assert not [name for name in codec.shared if name.startswith("network_")]
        assert codec.decode(codec.encode(x)).shape == x.shape


def test_what_an_encoder_has_learned_is_what_encodes(monkeypatch):
    """Axes as int8, each in a scale of its own."""
    x, moved = rows(300, 1), {}

    def learned(codec, rows, plan, ternary):
        start, _ = nested_training.begin(codec, rows, [16, 32])
        moved["forward"] = start.forward * np.linspace(0.5, 2, start.forward.shape[1], dtype=np.float32) + 0.1
        none = residual_network.Network(
            *(np.zeros(shape, np.float32) for shape in ((len(start.backward), 4), (4, 24))),
            *np.zeros((2, 2, 4), np.float32),
            np.zeros(2, np.float32),
            np.array([16, 32]),
        )
        return nested_training.Learned(none, moved["forward"])

    monkeypatch.setattr(nested_training, "network", learned)
    codec = matryoshka.fit_together(["matryoshka_32"], 0, x, PLAN)["matryoshka_32"]
    used = codec.shared["axes"] * codec.shared["reach"]
    expected = moved["forward"][:, : used.shape[1]]
    np.testing.assert_allclose(used, expected, atol=np.abs(expected).max() * 0.51 / 127)
    np.testing.assert_array_less(np.abs(used - expected).max(axis=0), np.abs(expected).max(axis=0) * 0.501 / 127 + 1e-7)


def test_rows_that_choose_the_best_step_are_not_trained_on(monkeypatch):
    x, seen = rows(400, 1), {}

    def remember(held, trained):
        seen["held"], seen["among"] = held, trained
        return lambda model: {"error": 0.0}

    monkeypatch.setattr(nested_training, "held_out", remember)
    for codec in (
        build("successive_refinement", "successive_refinement_64", 0),
        build("bit_planes", "bit_planes_64", 0),
    ):
        data = nested_training.make(codec.fit(x), x, plan_of(PLAN), False).data.read(0)
        as_bytes = lambda rows: {row[:24].tobytes() for row in rows}  # noqa: E731
        assert len(as_bytes(data)) == 380
        assert len(as_bytes(seen["held"])) == 20
        assert not as_bytes(data) & as_bytes(seen["held"])
        assert len(as_bytes(seen["among"])) == 140
        assert as_bytes(seen["among"]) <= as_bytes(data)


def test_training_leaves_the_random_generators_as_they_were():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    matryoshka.fit_together(["matryoshka_16"], 0, rows(100, 1), {**PLAN, "settings": {**SETTINGS, "steps": 2}})
    assert torch.equal(before, torch.get_rng_state())


def test_a_fit_that_was_stopped_goes_on_from_its_folder(tmp_path, monkeypatch):
    plan = {**PLAN, "folder": str(tmp_path / "kept"), "settings": {**SETTINGS, "steps": 60, "checkpoint_every": 20}}
    whole = matryoshka.fit_together(["matryoshka_32"], 0, rows(300, 1), {**plan, "folder": None})["matryoshka_32"]
    steps, exact = [], nested_training.loss

    def fails(model, samples, context):
        steps.append(context.step)
        if len(steps) == 50:
            raise KeyboardInterrupt
        return exact(model, samples, context)

    monkeypatch.setattr(nested_training, "loss", fails)
    with pytest.raises(KeyboardInterrupt):
        matryoshka.fit_together(["matryoshka_32"], 0, rows(300, 1), plan)
    again = matryoshka.fit_together(["matryoshka_32"], 0, rows(300, 1), plan)["matryoshka_32"]
    assert steps[50] == 40
    ended = len(steps)
    assert [one.name for one in (tmp_path / "kept").iterdir()] == ["successive_refinement_128-seed-0"]
    once_more = matryoshka.fit_together(["matryoshka_32"], 0, rows(300, 1), plan)["matryoshka_32"]
    assert len(steps) == ended  # what has ended is not repeated
    for found in (again, once_more):
        for name, array in whole.shared.items():
            np.testing.assert_array_equal(found.shared[name], array, err_msg=name)


def test_each_training_has_a_folder_and_a_name_of_its_own(tmp_path, monkeypatch):
    plan = {**FEW, "sizes": [16], "folder": str(tmp_path)}
    names = [
        "matryoshka_32",
        "matryoshka_32_ternary",
        "matryoshka_32_planes",
        "matryoshka_32_signs",
        "matryoshka_16_signs",
    ]
    shown, exact = [], stage.progress
    monkeypatch.setattr(stage, "progress", lambda items, what, *more: shown.append(what) or exact(items, what, *more))
    matryoshka.fit_together(names, 1, rows(100, 1), plan)
    assert shown == [
        *("train matryoshka, seed 1", "train matryoshka ternary, seed 1"),
        *("train matryoshka signs_32, seed 1", "train matryoshka signs_16, seed 1", "train matryoshka planes, seed 1"),
    ]
    forms = ("successive_refinement_32", "successive_refinement_32_ternary", "signs_32", "signs_16", "bit_planes_32")
    assert {one.name for one in tmp_path.iterdir()} == {f"{form}-seed-1" for form in forms}


OTHER = {"sizes": [16], "hidden": 32, "emphasis": 0.5, "encoder_rate": 0.02, "dropout": 0.2, "temperature": 0.1}


def closed_form(planes, emphasis=0.25):
    module = "bit_planes" if planes else "successive_refinement"
    codec = build(module, f"{module}_32", 0)
    codec.emphasis = emphasis
    return codec.fit(rows(60, 1))


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("key", OTHER)
def test_what_another_plan_has_trained_is_refused_by_the_key_that_differs(tmp_path, key, planes):
    plan = {**FEW, "sizes": [16, 32], "hidden": 64, "folder": str(tmp_path)}
    nested_training.network(closed_form(planes), rows(60, 1), plan_of(plan), False)
    other = plan_of({**plan, key: OTHER[key]})
    with pytest.raises(UserError, match=rf"facts\.options\.plan\.{key} was .* and is now .*; remove .*-seed-0/run to"):
        nested_training.network(closed_form(planes, other.emphasis), rows(60, 1), other, False)


def test_where_and_in_how_many_processes_it_is_trained_is_no_other_plan():
    codec, plan = closed_form(planes=False), plan_of({})
    elsewhere = plan_of({"folder": "f", "device": "auto", "processes": 3, "settings": {"steps": 3}})
    options = nested_training.options_of(codec, plan, False)
    assert options == nested_training.options_of(codec, elsewhere, False)
    assert set(options["plan"]) == set(OTHER)


def test_what_another_code_or_form_has_trained_is_refused(tmp_path):
    plan = plan_of({**FEW, "sizes": [16], "folder": str(tmp_path)})
    codec = closed_form(planes=False)
    nested_training.network(codec, rows(60, 1), plan, False)
    codec.shared["means"] = codec.shared["means"] * np.float16(1.5)
    with pytest.raises(UserError, match=r"facts\.options\.shared was"):
        nested_training.network(codec, rows(60, 1), plan, False)
    (tmp_path / "successive_refinement_32-seed-0").rename(tmp_path / "successive_refinement_32_ternary-seed-0")
    with pytest.raises(UserError, match=r"facts\.options\.ternary was False and is now True"):
        nested_training.network(closed_form(planes=False), rows(60, 1), plan, True)


@pytest.mark.parametrize("kept", [False, True])
def test_a_message_names_a_checkpoint_that_is_there_alone(tmp_path, monkeypatch, kept):
    exact = nested_training.loss

    def fails(model, samples, context):
        parts = exact(model, samples, context)
        return {name: torch.nan * (part() if callable(part) else part) for name, part in parts.items()}

    monkeypatch.setattr(nested_training, "loss", fails)
    plan = {**FEW, "folder": str(tmp_path) if kept else None}
    with pytest.raises(UserError, match=r"after step 0: the part '[a-z]*' of the loss is nan") as said:
        matryoshka.fit_together(["matryoshka_16"], 0, rows(60, 1), plan)
    assert str(said.value).endswith("is nan") != kept
    if kept:
        assert Path(str(said.value).rpartition(" ")[2]).exists()


def test_only_what_was_asked_for_is_said_to_be_shorter(caplog):
    matryoshka.fit_together(["matryoshka_64_planes", "matryoshka_2048_planes"], 0, rows(100, 1), FEW)
    assert [one.getMessage().split(":")[0] for one in caplog.records if "the vectors hold" in one.getMessage()] == [
        "matryoshka_2048_planes"
    ]


def test_an_unknown_search_rule_is_refused(fitted, unseen):
    for name in ("matryoshka_64", "matryoshka_32_planes"):
        with pytest.raises(UserError, match=f"{name} has no search rule 'no_such'"):
            fitted[name].searcher("no_such", fitted[name].encode(unseen))


def test_rows_that_are_nearly_all_alike_come_back():
    x = (1 + 1e-5 * np.random.default_rng(0).standard_normal((200, 24))).astype(np.float32)
    found = matryoshka.fit_together(["matryoshka_32", "matryoshka_32_ternary", "matryoshka_32_planes"], 0, x, PLAN)
    for codec in found.values():
        np.testing.assert_allclose(codec.decode(codec.encode(x)), x, atol=1e-4)


def test_two_processes_train_it_as_one_does(unseen, tmp_path, monkeypatch):
    plan = {**PLAN, "dropout": 0.3, "encoder_rate": 0.1, "settings": {**PLAN["settings"], "steps": 20}}
    plan |= {"folder": str(tmp_path)}
    found = []
    for count in (2, 1, 2):  # at last by what two have found before
        found.append(matryoshka.fit_together(["matryoshka_32_float"], 0, rows(300, 1), {**plan, "processes": count}))
        monkeypatch.setattr(nested_training.subprocess, "run", lambda *_, **__: pytest.fail("trained again"))
    decoded = [codec["matryoshka_32_float"].decode(codec["matryoshka_32_float"].encode(unseen)) for codec in found]
    same = np.isclose(decoded[0], decoded[1], atol=1e-4).all(axis=1)
    assert same.mean() > 0.98  # but for rows where a bit falls on the other side
    np.testing.assert_array_equal(decoded[2], decoded[0])
    assert not list(tmp_path.rglob("rows.npy"))  # as large as the table
    with pytest.raises(UserError, match=r"found\.safetensors: .*options\.plan\.temperature was 0\.05 and is now 0\.1"):
        matryoshka.fit_together(["matryoshka_32"], 0, rows(300, 1), {**plan, "processes": 2, "temperature": 0.1})


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"hiden": 3}, "unknown key 'hiden'"),
        ({"sizes": [12]}, "sizes must be multiples of 8"),
        ({"dropout": 1}, "dropout must be a number from 0 on and below 1"),
        ({"temperature": 0}, "temperature must be above 0"),
        ({"processes": 0}, "processes must be a whole number"),
        ({"processes": 1000}, "95 rows to train on are fewer than 1000 processes"),
        ({"processes": 3}, "a batch of 64 cannot be divided among 3 processes"),
        ({"sizes": 8}, "sizes must be multiples of 8"),
        ({"sizes": [40000]}, "up to 32,768"),
        ({"settings": None}, "settings must be keys and values, not None"),
        ({"settings": {"weights": [1]}}, "settings.weights must be keys and values"),
        ({"settings": {"seed": 3}}, "settings.seed: the seeds are those of evaluation.seeds"),
        ({"settings": {"steps": 0}}, "settings: steps"),
        (
            {"settings": {"weights": {"rank": 1}}},
            "settings.weights: unknown key 'rank'; known are balance, decorrelation",
        ),
        (
            {"settings": {"metric": "recal"}},
            "settings.metric must be recall, error, recall_16, .*error_64 or null, not",
        ),
        ({"settings": {"metric": "recall_48"}}, "settings.metric must be .*, not 'recall_48'"),
    ],
)
def test_unusable_plans_are_refused_by_name(plan, said):
    whole = {**PLAN, "settings": {**SETTINGS, "batch": 64}, **plan}
    with pytest.raises(UserError, match=said):
        matryoshka.fit_together(["matryoshka_16"], 0, rows(100, 0), whole)


@pytest.mark.parametrize("own", [{"weights": {"banana": 1}}, {"metric": "recal"}, {"stepps": 3}])
def test_settings_that_there_are_not_are_refused_before_anything_is_fitted(own):
    """The workflow reads the plan when it starts."""
    with pytest.raises(UserError, match="|".join([*own, "banana"])):
        plan_of({"settings": own})


@pytest.mark.parametrize("metric", ["recall", "error", "recall_16", "error_64", None])
def test_a_plan_is_measured_by_what_is_held_out(metric):
    x = rows(60, 0)
    plan = plan_of({"sizes": [16, 64], "settings": {"metric": metric}})
    codec = build("successive_refinement", "successive_refinement_64", 0).fit(x)
    made = nested_training.make(codec, x, plan, False)
    with torch.no_grad():
        assert set(plan.metrics()) == set(made.held_out(made.model))


def test_what_a_plan_leaves_out_is_as_shipped():
    given = plan_of({"settings": {"steps": 7, "weights": {"similarity": 2}}})
    assert given.settings["steps"] == 7
    assert given.settings["weights"] == {**Plan().settings["weights"], "similarity": 2}
    assert given.sizes == Plan().sizes


def test_the_shipped_configuration_is_the_shipped_plan():
    config = yaml.safe_load((Path(__file__).parents[2] / "config/config.yaml").read_text(encoding="utf-8"))
    assert plan_of(config["training"]["matryoshka"]) == Plan(sizes=[64, 128, 256, 512, 1024])


@pytest.mark.parametrize("bits", [0, 65, -1])
def test_a_size_that_is_no_prefix_is_refused(fitted, bits):
    with pytest.raises(UserError, match="are no prefix of 64"):
        fitted["matryoshka_64"].prefix(bits)


@pytest.mark.parametrize("name", ["matryoshka", "matryoshka_0", "matryoshka_12_planes", "matryoshka_8_int8"])
def test_other_names_are_refused(name):
    with pytest.raises(UserError, match="matryoshka has no codec"):
        build("matryoshka", name, 0)


def test_a_file_of_another_codec_is_no_task(tmp_path):
    codec = build("scalar", "int8", 0).fit(rows(50, 0))
    save(codec, "scalar", tmp_path / "codec.safetensors", {"seed": 0})
    options, files = (
        {"plan": {}, "shared": "", "ternary": False},
        [tmp_path / "rows.npy", tmp_path / "codec.safetensors"],
    )
    with pytest.raises(UserError, match=r"codec\.safetensors: .* is no nested code"):
        nested_training.task(files, options)
    with pytest.raises(UserError, match="--inputs: rows and a codec, not 1 files"):
        nested_training.task(files[:1], options)


# --- the network as it is stored ------------------------------------------------------------------------------------


def network(seed=0):
    rng = np.random.default_rng(seed)
    sizes = np.array([16, 64])
    return residual_network.Network(
        rng.standard_normal((150, 20)).astype(np.float32),
        rng.standard_normal((20, 7)).astype(np.float32),
        rng.standard_normal((2, 20)).astype(np.float32),
        rng.uniform(0.5, 2, (2, 20)).astype(np.float32),
        np.array([0.4, 0.1], np.float32),
        sizes,
    )


def test_between_sizes_gain_and_bias_are_interpolated_by_the_logarithm():
    one, u = network(), np.random.default_rng(1).standard_normal((5, 150)).astype(np.float32)

    def expected(gain, which):
        bias, gate = one.biases[which].mean(axis=0), one.gates[which].mean(axis=0)
        return gain * ((gate * np.maximum(u @ one.inner + bias, 0)) @ one.outer)

    at = lambda bits: residual_network.residual(one, u, bits)  # noqa: E731
    np.testing.assert_allclose(at(16), expected(0.4, [0]), rtol=1e-5)
    np.testing.assert_allclose(at(8), expected(0.4, [0]), rtol=1e-5)
    np.testing.assert_allclose(at(32), expected(0.25, [0, 1]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(at(64), expected(0.1, [1]), rtol=1e-5)
    assert np.abs(at(128)).max() == 0
    assert residual_network.serves(one, 127)
    assert not residual_network.serves(one, 128)


@pytest.mark.parametrize("form", ["float", "int8", "ternary"])
def test_a_network_is_stored_and_cut(form):
    one = network()
    if form == "ternary":
        scales = np.repeat(np.array([[0.5], [2.0]], np.float32), 128, axis=0)[:150]
        one = one._replace(inner=np.sign(one.inner) * scales, outer=np.sign(one.outer) * np.float32(0.25))
    stored = residual_network.stored(one, form)
    found = residual_network.restored(stored, 150)
    tolerance = {"float": 0, "int8": 0.5 / 127, "ternary": 0}[form]
    for name in ("inner", "outer"):
        matrix = getattr(one, name)
        np.testing.assert_allclose(getattr(found, name), matrix, atol=tolerance * np.abs(matrix).max() * 1.001)
    np.testing.assert_allclose(found.biases, one.biases, rtol=1e-3)
    kept = residual_network.cut(stored, 31)
    assert kept["network_inner"].nbytes == {"float": 31 * 20 * 4, "int8": 31 * 20, "ternary": 7 * 20}[form]
    assert sum(len(array) for name, array in kept.items() if name == "network_inner_scale" and form == "ternary") in (
        0,
        1,
    )
    short = residual_network.restored(kept, 31)
    np.testing.assert_array_equal(short.inner, found.inner[:31])
    np.testing.assert_array_equal(short.outer, found.outer)
