import json

import pytest

from pipeline.stage import UserError
from pipeline.training.settings import Settings, from_json

LEAST = {"steps": 5, "batch": 12, "weights": {"a": 1}}


def test_json_and_back():
    settings = Settings(
        5, 12, {"a": 1, "b": 0.5}, clip_norm=2, metric="m", patience=3, precision="float16", accumulate=3
    )
    assert from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"batc": 1}, "unknown key 'batc'"),
        ({"steps": 0}, "steps must be a whole number of at least 1, not 0"),
        ({"batch": 2.0}, "batch must be a whole number"),
        ({"batch": True}, "batch must be a whole number"),
        ({"seed": 10**30}, rf"seed must be a whole number of at most {2**63 - 1}, not {10**30}"),
        ({"learning_rate": 10**400}, "learning_rate must be a number of at most"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"warmup_steps": -1}, "warmup_steps"),
        ({"learning_rate": "fast"}, "learning_rate must be a number of at least 0, not 'fast'"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"clip_norm": -1}, "clip_norm"),
        ({"patience": 0, "metric": "m"}, "patience must be"),
        ({"patience": 2}, "patience waits for a metric"),
        ({"weights": {}}, "weights must name the parts"),
        ({"weights": {"a": -1}}, "weights.a must be"),
        ({"weights": {"a": 0}}, "all weights are 0"),
        ({"precision": "float8"}, "'float8' is not one of float64"),
        ({"accumulate": 5}, "a batch of 12 does not fall into 5 equal parts"),
    ],
)
def test_what_cannot_be_used_is_named(changed, said):
    with pytest.raises(UserError, match=said):
        from_json(LEAST | changed)


def test_a_missing_key_is_named():
    with pytest.raises(UserError, match="key 'weights' is missing"):
        from_json({"steps": 1, "batch": 1})
