"""What an ablation trains, and that the untrained variant is the closed form."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.codecs import matryoshka
from pipeline.codecs.nested_plan import plan_of
from pipeline.evaluation.ablation_variants import CHANGES, bits_of, merged, runs
from pipeline.stage import UserError

CONFIG = yaml.safe_load((Path(__file__).parent.parent.parent / "config/config.yaml").read_text())["training"]
WEIGHTS = {"reconstruction": 1, "similarity": 0, "ranking": 1, "balance": 0, "decorrelation": 0}
PLAN = {
    **{"sizes": [64, 128, 256], "hidden": 300, "encoder_rate": 0.03, "dropout": 0.3},
    "settings": {"steps": 7, "batch": 16, "weights": WEIGHTS},
}
NAMES = ("matryoshka_64", "matryoshka_128", "matryoshka_128_planes")


def weighed(**weights):
    return merged(PLAN, {"settings": {"weights": weights}})


def test_a_run_is_the_plan_with_one_change():
    found = runs(PLAN, NAMES, ["matryoshka_64_ternary"])
    alone = [f"{variant}_{bits}" for variant in ("alone", "alone_small") for bits in (64, 128)]
    assert set(found) == {
        *("shipped", "untrained", "without_reconstruction", "without_ranking", "with_similarity", "with_balance"),
        *("with_decorrelation", "encoder_fixed", "without_emphasis", "without_dropout", *alone),
    }
    assert found["shipped"] == ("shipped", (*NAMES, "matryoshka_64_ternary"), PLAN)
    assert found["without_ranking"].options == weighed(ranking=0)
    assert found["with_similarity"].options == weighed(similarity=1)
    untrained = plan_of(found["untrained"].options)
    assert (untrained.encoder_rate, untrained.settings["learning_rate"], untrained.settings["steps"]) == (0, 0, 1)
    assert found["encoder_fixed"].options == {**PLAN, "encoder_rate": 0}
    assert found["without_dropout"].options == {**PLAN, "dropout": 0}
    assert found["without_dropout"].representations == NAMES


def test_each_size_alone_is_trained_for_that_size_and_nothing_else():
    found = runs(PLAN, NAMES)
    assert found["alone_64"] == ("alone", ("matryoshka_64",), {**PLAN, "sizes": [64]})
    own = ("matryoshka_128", "matryoshka_128_planes")
    assert found["alone_small_128"] == ("alone_small", own, {**PLAN, "sizes": [128], "hidden": 100})


def test_a_metric_of_a_size_that_is_not_trained_for_is_that_of_all_sizes():
    found = runs(merged(PLAN, {"settings": {"metric": "recall_128"}}), NAMES)
    metrics = {name: run.options["settings"]["metric"] for name, run in found.items()}
    assert {name for name, metric in metrics.items() if metric != "recall_128"} == {
        *("untrained", "alone_64", "alone_small_64"),
    }
    assert metrics["alone_64"] == "recall"


def test_what_only_an_encoder_has_is_not_tried_on_codes_without_one():
    found = runs(PLAN, NAMES)
    for variant in ("encoder_fixed", "with_balance", "with_decorrelation"):
        assert found[variant].representations == ("matryoshka_64", "matryoshka_128")
    assert "encoder_fixed" not in runs(PLAN, ["matryoshka_128_planes"])
    signs = runs(PLAN, [*NAMES, "matryoshka_128_signs"])
    assert signs["without_emphasis"].representations == NAMES
    assert signs["encoder_fixed"].representations[-1] == "matryoshka_128_signs"


def test_what_changes_nothing_or_leaves_no_loss_is_left_out():
    plan = {**weighed(ranking=0, balance=2), "dropout": 0, "encoder_rate": 0, "emphasis": 0}
    names = set(runs(plan, NAMES)) - {"alone_64", "alone_128", "alone_small_64", "alone_small_128"}
    assert names == {
        *("shipped", "untrained", "without_reconstruction", "without_balance"),
        *("with_similarity", "with_ranking", "with_decorrelation", "with_dropout"),
    }
    assert runs(plan, NAMES)["with_dropout"].options["dropout"] == 0.3
    assert "without_reconstruction" not in runs(weighed(ranking=0), NAMES)
    assert "alone_64" not in runs({**PLAN, "sizes": [64]}, NAMES)


def test_left_out_variants_are_left_out_with_all_their_sizes():
    kept = ("shipped", "alone")
    found = runs(PLAN, NAMES, left_out=[name for name in CHANGES if name not in kept])
    assert set(found) == {"shipped", "alone_64", "alone_128"}


def test_every_run_of_the_shipped_configuration_can_be_trained():
    found = runs(CONFIG["matryoshka"], **CONFIG["ablation"])
    assert {run.variant for run in found.values()} >= {"shipped", "untrained", "alone", "alone_small"}
    for run in found.values():
        plan_of(run.options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"left_out": ["without_rankin"]}, "left_out: there is no variant 'without_rankin' to leave out; there are"),
        ({"left_out": ["shipped"]}, "there is no variant 'shipped' to leave out"),
        ({"forms": ["matryoshka_256_float"]}, "'matryoshka_256_float': representations are int8 forms"),
        ({"forms": ["matryoshka_64"]}, "'matryoshka_64': representations are int8 forms"),
        ({"representations": ["matryoshka_64_ternary"]}, "'matryoshka_64_ternary': representations are int8 forms"),
        ({"representations": ["sign"]}, "matryoshka has no codec 'sign'"),
    ],
)
def test_names_that_there_are_not_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        runs(PLAN, **{"representations": NAMES, **given})


@pytest.mark.slow  # the first training in a process costs torch and compiling
@pytest.mark.parametrize("name", ["matryoshka_64", "matryoshka_64_planes", "matryoshka_16_signs"])
def test_the_untrained_variant_is_the_closed_form(name):
    x = np.random.default_rng(0).standard_normal((200, 24), np.float32) * np.linspace(2, 0.2, 24, dtype=np.float32)
    last = {"settings": {"metric": None, "patience": None}}  # the last step is kept, not the best one
    plan = merged({**PLAN, "sizes": [bits_of(name)], "encoder_rate": 0.0}, last)
    untrained, shipped = (
        matryoshka.fit_together([name], 0, x, run.options)[name]
        for run in (runs(plan, [name])[variant] for variant in ("untrained", "shipped"))
    )
    codes, decoded = untrained.encode(x), untrained.decode(untrained.encode(x))
    assert np.abs(shipped.decode(codes) - decoded).max() > 1e-3  # the encoder is the same, and it was trained
    network = {array: value for array, value in untrained.shared.items() if array.startswith("network_")}
    assert sum(value.nbytes for value in network.values()) < 7 * x.shape[1]
    shipped.shared = {array: value for array, value in shipped.shared.items() if not array.startswith("network_")}
    np.testing.assert_array_equal(shipped.decode(codes), decoded)
