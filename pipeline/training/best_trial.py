"""Stage: of trainings of one model with different settings (trials), the one whose held-out metric is best.

Takes   the .safetensors of `pipeline.training.run`, each with its .parquet beside it: the same module, options, data,
        seed and metric in all.
Makes   <output>.safetensors and <output>.parquet, the best trial's files as they are, and <output>.trials.csv: a row a
        trial, with the settings that differ, its best value of the metric and the step it stood at, how many steps it
        took, what ended it, and whether it was chosen.

The earlier of equals is chosen. Held-out data choose, never test data.
"""

import csv
import io
import json
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipeline import stage, store
from pipeline.stage import UserError
from pipeline.training import checkpoint
from pipeline.training.trained import UNFINISHED

RESULT = ("best", "best_step", "steps", "ended_by", "seconds")
NEEDED = {"settings": ("metric", "larger_is_better", "seed"), "result": RESULT}
SUFFIXES = (".safetensors", ".parquet")
SAME = ("module", "options", "data")


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the settings that are not the same in all trials."""
    return [name for name in settings[0] if any(one.get(name) != settings[0][name] for one in settings)]


def check(path: Path, facts: Mapping[str, Any]) -> None:
    """Raises UserError, naming the file, for facts of no finished training, and for one whose best value is none."""
    for part, names in NEEDED.items():
        for name in names:
            checkpoint.fact(path, facts, UNFINISHED, f"{part}.{name}")
    metric, value = facts["settings"]["metric"], facts["result"]["best"]
    if metric is not None and not (type(value) in (int, float) and math.isfinite(value)):
        raise UserError(f"{path}: the best {metric} is {value!r}, no number: nothing to choose by")


def best(facts: Sequence[Mapping[str, Any]]) -> int:
    """The trial that is best by its metric, of facts as `pipeline.training.run` writes them into the header.

    Raises UserError where there is no metric, and where trials differ in what they are compared by.
    """
    for name in SAME:
        if any(one.get(name) != facts[0].get(name) for one in facts):
            raise UserError(f"trials of different {name}: {facts[0].get(name)} and another")
    settings = [one["settings"] for one in facts]
    for name in ("metric", "larger_is_better", "seed"):
        if name in differing(settings):
            raise UserError(f"trials of different {name}: {', '.join(str(one[name]) for one in settings)}")
    if settings[0]["metric"] is None:
        raise UserError("trials without a metric: settings.metric names the one that chooses")
    sign = -1 if settings[0]["larger_is_better"] else 1
    return min(range(len(facts)), key=lambda trial: sign * facts[trial]["result"]["best"])


def table(facts: Sequence[Mapping[str, Any]], chosen: int) -> str:
    """CSV text, a row a trial."""
    names = differing([one["settings"] for one in facts])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *names, "metric", *RESULT, "chosen"])
    for trial, one in enumerate(facts):
        of_trial = [json.dumps(one["settings"].get(name)) for name in names]
        found = [one["result"][name] for name in RESULT]
        writer.writerow([trial, *of_trial, one["settings"]["metric"], *found, int(trial == chosen)])
    return text.getvalue()


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--trials", type=Path, nargs="+", required=True, help=".safetensors of pipeline.training.run")
    parser.add_argument("--output", type=Path, required=True, help="without suffix")
    arguments = parser.parse_args(argv)
    facts = [checkpoint.read(path).facts for path in arguments.trials]
    for path, one in zip(arguments.trials, facts, strict=True):
        check(path, one)
    chosen = best(facts)
    with ExitStack() as stack:  # all files appear, or none
        for suffix in SUFFIXES:
            target = store.with_ending(arguments.output, suffix)
            shutil.copyfile(
                arguments.trials[chosen].with_suffix(suffix), stack.enter_context(store.atomic_file(target))
            )
        target = store.with_ending(arguments.output, ".trials.csv")
        stack.enter_context(store.atomic_file(target)).write_text(table(facts, chosen))
    stage.log.info("trial %d of %d is best: %s", chosen, len(facts), facts[chosen]["result"]["best"])


if __name__ == "__main__":
    sys.exit(stage.run(main))
