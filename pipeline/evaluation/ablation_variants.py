"""What an ablation changes of the plan that matryoshka codes are trained by: data, each name with its change.

    shipped           nothing: what all others are compared with
    untrained         the closed form: one step that moves nothing, of one hidden unit (some 6 d bytes of what is
                      shared) and for 8 bits, so that codes of 16 and more are decoded without it
    without_<part>    a part of the loss that has a weight has none
    with_<part>       a part of the loss that has no weight has the weight ADDED
    encoder_fixed     the encoder stays that of the closed form
    without_emphasis  bits are ordered by the variances themselves
    with_dropout      the share DROPPED of the hidden units is left out in every step, where none is
    without_dropout   all hidden units in every step, where some are left out
    alone             for each size a network of its own, trained for that size alone, in as many steps and with, at
                      most, as many hidden units as the one for all sizes
    alone_small       the same, the hidden units divided by the number of the plan's sizes: all these networks together
                      are as large as the one

What would change nothing is left out (a fixed encoder where `encoder_rate` is 0), and so is a loss without any part.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.codecs import matryoshka
from pipeline.codecs.nested_plan import ENCODER_PARTS, WEIGHTS, Plan, plan_of
from pipeline.stage import UserError

SHIPPED = "shipped"
ALONE = ("alone", "alone_small")
ADDED = 1.0
DROPPED = 0.3
CLOSED_FORM = {
    **{"sizes": [8], "hidden": 1, "encoder_rate": 0.0},
    "settings": {"steps": 1, "warmup_steps": 0, "learning_rate": 0.0},
}
FIXED_ENCODER, ALL_ALIKE, NO_KIND = "_planes", "_signs", " "  # kinds of codes, by how their names end

Options = Mapping[str, Any]
"""training.matryoshka of the configuration, or a part of it"""


class Change(NamedTuple):
    """`of` (plan, bits) -> what is laid over the plan."""

    of: Callable[[Plan, int], Options]
    each_size: bool = False  # a training for each size, not one for all
    not_for: str = NO_KIND  # how the names of codes end that have nothing of what is changed


class Run(NamedTuple):
    """One training of some codecs: whose it is, and the whole plan."""

    variant: str
    representations: tuple[str, ...]
    options: Options


def _weight(part: str, weight: float) -> Options:
    return {"settings": {"weights": {part: weight}}}


def _without(part: str) -> Change:
    return Change(lambda plan, bits: _weight(part, 0.0), not_for=_not_for(part))


def _with(part: str) -> Change:
    def of(plan: Plan, bits: int) -> Options:
        return {} if plan.settings["weights"][part] else _weight(part, ADDED)

    return Change(of, not_for=_not_for(part))


def _not_for(part: str) -> str:
    return FIXED_ENCODER if part in ENCODER_PARTS else NO_KIND


CHANGES: Mapping[str, Change] = {
    SHIPPED: Change(lambda plan, bits: {}),
    "untrained": Change(lambda plan, bits: CLOSED_FORM),
    **{f"without_{part}": _without(part) for part in WEIGHTS},
    **{f"with_{part}": _with(part) for part in WEIGHTS},
    "encoder_fixed": Change(lambda plan, bits: {"encoder_rate": 0.0}, not_for=FIXED_ENCODER),
    "without_emphasis": Change(lambda plan, bits: {"emphasis": 0.0}, not_for=ALL_ALIKE),
    "with_dropout": Change(lambda plan, bits: {} if plan.dropout else {"dropout": DROPPED}),
    "without_dropout": Change(lambda plan, bits: {"dropout": 0.0}),
    "alone": Change(lambda plan, bits: {"sizes": [bits]}, each_size=True),
    "alone_small": Change(
        lambda plan, bits: {"sizes": [bits], "hidden": max(1, plan.hidden // len(plan.sizes))}, each_size=True
    ),
}


def runs(
    options: Options, representations: Sequence[str], forms: Sequence[str] = (), left_out: Sequence[str] = ()
) -> dict[str, Run]:
    """What has to be trained, by name: a variant's, with the bits behind it where each size has a training of its own.

    `forms`: what else is trained as shipped, `_float` and `_ternary` forms of the representations. Raises UserError for
    names that there are not and for unusable options.
    """
    plan = plan_of(options)
    for name in left_out:
        if name not in CHANGES or name == SHIPPED:
            raise UserError(f"left_out: there is no variant {name!r} to leave out; there are {', '.join(CHANGES)}")
    for name in (*representations, *forms):
        matryoshka.build(name, 0)
        if (int8_form(name) != name) != (name in forms) or int8_form(name) not in representations:
            raise UserError(f"{name!r}: representations are int8 forms, and forms are _float or _ternary ones of them")
    found: dict[str, Run] = {}
    for variant, change in CHANGES.items():
        if variant not in left_out:
            found |= _runs(variant, change, options, plan, representations)
    found[SHIPPED] = found[SHIPPED]._replace(representations=(*representations, *forms))
    return found


def int8_form(representation: str) -> str:
    """The name without `_float` or `_ternary`."""
    return re.sub("_(float|ternary)$", "", representation)


def bits_of(representation: str) -> int:
    return matryoshka.build(representation, 0).budget


def _runs(
    variant: str, change: Change, options: Options, plan: Plan, names: Sequence[str]
) -> Iterator[tuple[str, Run]]:
    """A variant's, without those that would change nothing or cannot be trained."""
    able = [name for name in names if not name.endswith(change.not_for)]
    groups: dict[int, list[str]] = {}
    for name in able:
        groups.setdefault(bits_of(name) if change.each_size else 0, []).append(name)
    for bits, group in groups.items():
        laid = _laid(options, plan, change.of(plan, bits))
        if any(laid["settings"]["weights"].values()) and (variant == SHIPPED or plan_of(laid) != plan):
            yield f"{variant}_{bits}" if bits else variant, Run(variant, tuple(group), laid)


def _laid(options: Options, plan: Plan, change: Options) -> Options:
    """A change of sizes leaves no metric of a size that is gone: the same metric, over all sizes, then chooses."""
    what, _, size = (plan.settings["metric"] or "").partition("_")
    if size and int(size) not in change.get("sizes", plan.sizes):
        change = merged(change, {"settings": {"metric": what}})
    return merged(options, change)


def merged(options: Options, change: Options) -> Options:
    """`change` laid over `options`, mappings key by key."""
    return {
        **options,
        **{
            key: merged(options.get(key, {}), value) if isinstance(value, Mapping) else value
            for key, value in change.items()
        },
    }
