"""Which codec is best within so many bytes a vector: the best of ours against the best of the peers, and who wins.

    python -m pipeline.evaluation.best_by_bytes --benchmarks results/benchmarks.parquet \\
        --output results/best_by_bytes.csv

Makes a CSV file with a row for each embedding x criterion x way of counting x budget. Of several long tables (the
default's and that of `make peers`) all representations of an embedding meet. At each budget the best of our
codecs and the best of the peers' (the families that figures draw hollow: faiss, sentence-transformers) that cost at
most so much meet:

- Who goes in is chosen on validation rows: a codec's search rule by `knn10_overlap_validation`, and the codec by the
  criterion's own validation score, which `chosen_by` names. What is reported is of test rows, the mean over the seeds,
  with the mean ends of their 95 % intervals. So a larger budget may have a lower value.
- `counted` is what a budget has to pay for: `codes` what is stored for each vector; `all_at_n` that and a vector's
  share of the shared bytes in a table of this size, `all_at_1e6` in one of a million vectors.
- `winner` is `ours`, `peer` or `tie`; `how` says by what:
  `paired`: seeds give both the same split, the same queries. With two seeds or more, Student's 95 % interval of the
  mean difference, m +- t(n - 1) s / sqrt(n); a tie where it holds 0. `margin` is m, above 0 where ours is better.
  Two seeds share a fifth of their test rows, and nothing is corrected for the number of verdicts: a narrow one is weak.
  `intervals`: with fewer, a tie where the two intervals overlap.
  `alone`: the other side has nothing so small.

Contestants are codes that lose something. No contestants are the formats and cuts of the family `float`, which are
nobody's codec, and codes that return all values bit for bit, ours or a peer's, which keep another promise and are
compared among themselves: `reference` is the best of those within the budget. Where it is better than both sides,
neither is the best choice. Cells without a meaning are empty.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import stage
from pipeline.evaluation.compression import cell
from pipeline.evaluation.statistics import paired
from pipeline.evaluation.table import write_csv
from pipeline.plots import measurements, style
from pipeline.plots.measurements import Metrics, Row, Score, best, metric
from pipeline.stage import UserError

BUDGETS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)  # bytes a vector, up to float32's
COUNTED = ("codes", "all_at_n", "all_at_1e6")
SIDES = ("ours", "peer", "reference")
LOWER_IS_BETTER = {"relative_mse", "relative_mse_validation"}
CRITERIA: Mapping[str, tuple[str, ...]] = {  # by what each is chosen: the first that the table has
    "knn10_overlap": ("knn10_overlap_validation",),
    "relative_mse": ("relative_mse_validation", "knn10_overlap_validation"),
}
COLUMNS = (
    *("embedding", "vectors", "dims", "criterion", "chosen_by", "counted", "budget_bytes"),
    *("winner", "how", "margin", "margin_low", "margin_high"),
    *(
        f"{side}_{what}"
        for side in SIDES
        for what in ("representation", "search", "bytes", "bytes_at_n", "bytes_at_1e6", "value", "ci_low", "ci_high")
    ),
)


class Contestant(NamedTuple):
    """A representation under its search rule. `costs` in bytes a vector, one for each of COUNTED."""

    row: Row
    side: str
    costs: tuple[float, ...]
    checked: float  # on validation rows; higher is better
    score: Score  # on test rows, the mean over the seeds
    seeds: Mapping[int, float]


class Verdict(NamedTuple):
    """Who wins, by what, and by how much: above 0 where ours is better. Without a margin it is nan."""

    winner: str
    how: str
    margin: float = math.nan
    low: float = math.nan
    high: float = math.nan


def sign(name: str) -> int:
    """What a score is multiplied by so that higher is better."""
    return -1 if name in LOWER_IS_BETTER else 1


def side(row: Row, metrics: Metrics) -> str:
    """Whose codec it is. See the module for who is no contestant."""
    exact = metric("exact_values")(metrics)
    if row.family == "float" or (exact is not None and exact.value == 1):
        return "reference"
    return "ours" if style.look(row.family).filled else "peer"


def contestants(rows: Mapping[Row, Metrics], criterion: str, chosen_by: str) -> list[Contestant]:
    """All representations that have the criterion, its validation score and a cost."""
    if criterion in LOWER_IS_BETTER:  # an error of decoding does not depend on the search rule
        rows = {row: metrics for row, metrics in rows.items() if row.search == "decoded"}
    found = []
    for row, score in best(rows, metric(criterion)).values():
        metrics = rows[row]
        checked, *facts = (metric(name)(metrics) for name in (chosen_by, "bytes_per_vector", "shared_bytes", "vectors"))
        if checked is None or None in facts:
            continue
        stored, shared, vectors = (fact.value for fact in facts if fact is not None)
        costs = (stored, stored + shared / vectors, stored + shared / 1e6)
        seeds = {seed: one.value for seed, one in metrics[criterion].items() if math.isfinite(one.value)}
        found.append(Contestant(row, side(row, metrics), costs, sign(chosen_by) * checked.value, score, seeds))
    return found


def leader(field: Sequence[Contestant], whose: str, counted: int, budget: float) -> Contestant | None:
    """Of one side's that a budget pays for, the best on validation rows; of equal ones the cheapest."""
    able = [one for one in field if one.side == whose and one.costs[counted] <= budget]
    return max(able, key=lambda one: (one.checked, -one.costs[counted]), default=None)


def judge(ours: Contestant | None, peer: Contestant | None, better: int) -> Verdict:
    """`better`: 1 where a higher value is better, -1 where a lower one is."""
    if ours is None or peer is None:
        winner = "ours" if ours else "peer" if peer else ""
        return Verdict(winner, "alone" if winner else "")
    common = sorted(ours.seeds.keys() & peer.seeds.keys())
    differences = [better * (ours.seeds[seed] - peer.seeds[seed]) for seed in common]
    if len(common) < 2:
        margin = better * (ours.score.value - peer.score.value)
        apart = ours.score.low > peer.score.high or peer.score.low > ours.score.high
        return Verdict(("ours" if margin > 0 else "peer") if apart else "tie", "intervals", margin)
    margin, low, high = paired(differences)
    winner = "ours" if low > 0 else "peer" if high < 0 else "tie"
    return Verdict(winner, "paired", margin, low, high)


def budgets(dims: int) -> list[int]:
    """Bytes a vector: those of BUDGETS below float32's, and float32's."""
    return [*(budget for budget in BUDGETS if budget < 4 * dims), 4 * dims]


def rows_of(embedding: str, rows: Mapping[Row, Metrics]) -> Iterator[dict[str, Any]]:
    """The rows of one embedding. Raises UserError if the table does not say its size."""
    vectors, dims = (
        next((score.value for metrics in rows.values() if (score := metric(name)(metrics))), None)
        for name in ("vectors", "dims")
    )
    if vectors is None or dims is None:
        raise UserError(f"{embedding}: the benchmark table does not say how many vectors and dimensions it has")
    for criterion, choices in CRITERIA.items():
        named = [name for name in choices if any(metric(name)(metrics) for metrics in rows.values())]
        field = contestants(rows, criterion, named[0]) if named else []
        for counted, how_counted in enumerate(COUNTED):
            for budget in budgets(int(dims)) if field else ():
                leaders = {whose: leader(field, whose, counted, budget) for whose in SIDES}
                verdict = judge(leaders["ours"], leaders["peer"], sign(criterion))
                yield {
                    **{"embedding": embedding, "vectors": cell(vectors), "dims": cell(dims), "criterion": criterion},
                    **{"chosen_by": named[0], "counted": how_counted, "budget_bytes": budget},
                    **{"winner": verdict.winner, "how": verdict.how, "margin": cell(verdict.margin)},
                    **{"margin_low": cell(verdict.low), "margin_high": cell(verdict.high)},
                    **{key: value for whose, one in leaders.items() for key, value in _cells(whose, one).items()},
                }


def _cells(whose: str, one: Contestant | None) -> dict[str, str]:
    if one is None:
        return {}
    numbers = (*one.costs, *one.score[:3])
    names = ("bytes", "bytes_at_n", "bytes_at_1e6", "value", "ci_low", "ci_high")
    return {
        **{f"{whose}_representation": one.row.representation, f"{whose}_search": one.row.search},
        **{f"{whose}_{name}": cell(number) for name, number in zip(names, numbers, strict=True)},
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each embedding and criterion, codes counted: how often ours wins, and where and to whom it loses."""
    names = style.short_names(row.get("peer_representation", "") for row in rows)
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["counted"] == COUNTED[0]:
            groups.setdefault((row["embedding"], row["criterion"]), []).append(row)
    for (embedding, criterion), group in groups.items():
        won, tied, lost = ([row for row in group if row["winner"] == who] for who in ("ours", "tie", "peer"))
        lost_to: dict[str, list[str]] = {}
        for row in lost:
            lost_to.setdefault(names[row["peer_representation"]], []).append(str(row["budget_bytes"]))
        where = "; ".join(f"at {', '.join(sizes)} bytes to {peer}" for peer, sizes in lost_to.items())
        counts = f"of {len(group)} budgets ours wins {len(won)}, ties {len(tied)}, loses {len(lost)}"
        yield f"{embedding}, {criterion}: {counts}{': ' + where if where else ''}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--benchmarks", nargs="+", type=Path, required=True, help="long tables, as benchmarks.parquet")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    args = parser.parse_args(argv)
    rows = [
        row
        for embedding, measured in measurements.read_all(args.benchmarks).items()
        for row in rows_of(embedding, measured)
    ]
    if not rows:
        criteria = " or ".join(f"{name} and {choices[0]}" for name, choices in CRITERIA.items())
        raise UserError(f"{', '.join(map(str, args.benchmarks))}: no representation has a size, {criteria}")
    write_csv(args.output, COLUMNS, rows)
    stage.log.info("%d rows in %s", len(rows), args.output)
    for line in summary(rows):
        stage.log.info("%s", line)


if __name__ == "__main__":
    sys.exit(stage.run(main))
