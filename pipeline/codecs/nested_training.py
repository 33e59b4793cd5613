"""Training of the decoder of a nested code, and of its encoder where it can learn (`pipeline/training/matryoshka.py`).

    network(codec, x, plan, ternary) -> what training found

`codec` is a fitted `SuccessiveRefinement`, which is learned through, or a `BitPlanes`, whose codes are made beforehand.
In one process it is trained here; in more, by `pipeline.training.launch`, which runs

    task([rows.npy, codec], options_of(codec, plan, ternary)) -> a model for pipeline/training/run.py

Either way checkpoints know these options, and are refused where they differ.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pipeline import codec as codecs
from pipeline import stage
from pipeline.codec import Array
from pipeline.codecs.bit_planes import BitPlanes
from pipeline.codecs.nested_plan import ENCODER_PARTS, Plan, plan_of
from pipeline.codecs.residual_network import Network
from pipeline.codecs.successive_refinement import TREE, SuccessiveRefinement
from pipeline.stage import UserError, check_keys
from pipeline.store import array_digest
from pipeline.training import checkpoint, random_state, settings
from pipeline.training.arrays import Rows
from pipeline.training.distributed import joined
from pipeline.training.loop import train
from pipeline.training.matryoshka import Decoder, Embedder, How, Start, held_out, loss
from pipeline.training.sampler import positions
from pipeline.training.task import Task

HELD_OUT = 20  # one row in so many chooses the best step and is not trained on
TOGETHER = 8  # held-out rows are searched among so many times as many rows, most of them trained on
MOST_VALUES = 2**28  # floats of codes that are made beforehand: of more rows a part is trained on
HIDDEN_STEP = 32
NOT_LEARNED_BY = ("folder", "device", "processes", "settings")  # of a plan; checkpoints know the settings themselves


class Learned(NamedTuple):
    """The network, and F [d, k] of the encoder if that has learned."""

    network: Network
    forward: Array | None


def sizes_of(codec: SuccessiveRefinement | BitPlanes, plan: Plan) -> list[int]:
    """The plan's sizes that the codec has, and whose cells are those of trees."""
    sizes = [bits for bits in sorted(set(plan.sizes)) if bits <= codec.bits]
    if isinstance(codec, SuccessiveRefinement):
        return [bits for bits in sizes if np.bincount(codec.shared["order"][:bits]).max() <= TREE]
    return sizes


def hidden_units(codec: SuccessiveRefinement | BitPlanes, sizes: Sequence[int], plan: Plan) -> int:
    """As many as the plan has, or fewer: an int8 network and the codes that it serves then share 4 d (d + 256) bytes,
    but at least HIDDEN_STEP where these alone share more (d below about 100)."""
    dims, components = codec.shared["axes"].shape
    longest = codec.prefix(min(codec.bits // 8 * 8, 2 * sizes[-1]))
    room = 4 * dims * (dims + 256) - codecs.shared_bytes(longest) - 8 * dims
    each = components + dims + 4 * len(sizes) + 4
    return min(plan.hidden, max(HIDDEN_STEP, room // each // HIDDEN_STEP * HIDDEN_STEP))


def begin(codec: SuccessiveRefinement | BitPlanes, x: Array, sizes: Sequence[int]) -> tuple[Start, Array]:
    """Where training begins, and its samples: rows x [n, d], or with the values of each size's codes behind them."""
    if isinstance(codec, SuccessiveRefinement):
        codec = codec.prefix(sizes[-1])  # components that have bits only in longer codes are not learned
    mean, backward = codec.shared["mean"], codec.backward()
    prefixes = [codec.prefix(bits) for bits in sizes]
    errors, values = [], []
    for prefix in prefixes:
        known = prefix.values(prefix.encode(x)[codec.array])
        errors.append(float(np.square(x - prefix.rows(known), dtype=np.float64).sum(axis=1).mean()))
        values.append(known)
    variance = float(np.square(x - mean, dtype=np.float64).sum(axis=1).mean())
    facts = (mean, backward, sizes, [v.shape[1] for v in values], np.maximum(errors, 1e-12 * variance), variance)
    if isinstance(codec, BitPlanes):
        return Start(*facts), np.concatenate([x, *values], axis=1)
    own = (cells(prefix) for prefix in prefixes if isinstance(prefix, SuccessiveRefinement))
    cuts, leaves = zip(*own, strict=True)
    count, width = len(backward), max(cut.shape[1] for cut in cuts)
    all_cuts = np.full((len(sizes), count, width), np.inf, np.float32)
    all_leaves = np.zeros((len(sizes), count, width + 1), np.float32)
    for which, (cut, leaf) in enumerate(zip(cuts, leaves, strict=True)):
        all_cuts[which, : len(cut), : cut.shape[1]] = cut
        all_leaves[which, : len(leaf), : leaf.shape[1]] = leaf
    forward = codec.shared["axes"] * codec.shared["reach"]
    return Start(*facts, forward=forward, cuts=all_cuts, values=all_leaves), x


def cells(codec: SuccessiveRefinement) -> tuple[Array, Array]:
    """Thresholds [k, c], infinite behind a component's last, and the means between them [k, c + 1], 0 behind."""
    cuts, leaves = codec.cuts(), codec.leaf_means()
    width = max(map(len, cuts))
    found = np.full((len(cuts), width), np.inf, np.float32), np.zeros((len(cuts), width + 1), np.float32)
    for row, (cut, leaf) in enumerate(zip(cuts, leaves, strict=True)):
        found[0][row, : len(cut)], found[1][row, : len(leaf)] = cut, leaf
    return found


def make(codec: SuccessiveRefinement | BitPlanes, x: Array, plan: Plan, ternary: bool) -> Task:
    """Model, samples, loss and held-out metrics. The model's first weights are drawn from torch's generator."""
    sizes = sizes_of(codec, plan)
    order = np.random.default_rng(codec.seed).permutation(len(x))
    if isinstance(codec, BitPlanes):
        order = order[: max(HELD_OUT, MOST_VALUES // (x.shape[1] * (1 + len(sizes))))]
    held, kept = np.sort(order[: len(order) // HELD_OUT]), np.sort(order[len(order) // HELD_OUT :])
    start, samples = begin(codec, x[np.concatenate([held, kept])], sizes)
    how = How(hidden_units(codec, sizes, plan), plan.encoder_rate, plan.dropout, plan.temperature, ternary)
    learns = isinstance(codec, SuccessiveRefinement)
    model = Embedder(start, how) if learns else Decoder(start, how)
    count = max(1, len(held))
    data = Rows(samples[len(held) :], samples[len(held) :, : x.shape[1]])  # the rest is of the codec and the sizes
    return Task(model, data, loss, held_out(samples[:count], samples[count : count * TOGETHER]))


def options_of(codec: SuccessiveRefinement | BitPlanes, plan: Plan, ternary: bool) -> dict[str, Any]:
    """What decides, besides rows and settings, what training finds (JSON); `shared`: a digest of the codec's arrays."""
    digests = "".join(f"{name} {array_digest(array)} " for name, array in sorted(codec.shared.items()))
    learned_by = {name: value for name, value in asdict(plan).items() if name not in NOT_LEARNED_BY}
    shared = hashlib.sha256(digests.encode()).hexdigest()
    return {"plan": learned_by, "shared": shared, "ternary": ternary}


def settings_of(codec: SuccessiveRefinement | BitPlanes, rows: int, plan: Plan) -> settings.Settings:
    """The plan's, for so many rows. Where no encoder learns there is no balance or decorrelation to pay for."""
    weights = dict(plan.settings["weights"])
    if isinstance(codec, BitPlanes):
        weights = {name: weight for name, weight in weights.items() if name not in ENCODER_PARTS}
    asked = {**plan.settings, "weights": weights, "seed": codec.seed}
    each = plan.processes * plan.settings.get("accumulate", 1)
    if rows < each:
        raise UserError(f"training.matryoshka: {rows} rows to train on are fewer than {each} processes and parts")
    if plan.settings["batch"] > rows:
        asked["batch"] = rows // each * each
        stage.log.info("training.matryoshka: batches of %d, for there are but %d rows", asked["batch"], rows)
    return settings.from_json(asked)


def network(codec: SuccessiveRefinement | BitPlanes, x: Array, plan: Plan, ternary: bool) -> Learned | None:
    """What training on rows x float32 [n, d] found; None where the data are too few, or there is no size to train for.

    On the CPU in one process the same rows, plan and seed give the same. Global random generators stay as they are.
    Raises UserError for unusable settings, and for whatever stops the trainer.
    """
    if not sizes_of(codec, plan) or len(x) < 2 * HELD_OUT:
        what = f"{len(x)} rows" if len(x) < 2 * HELD_OUT else f"codes of {codec.bits} bits at most"
        stage.log.warning("matryoshka: nothing is trained for %s: the closed form stands alone", what)
        return None
    chosen = settings_of(codec, len(x) - len(x) // HELD_OUT, plan)
    positions(chosen.batch, chosen.accumulate, 0, plan.processes)  # refuses a batch that they cannot divide
    threads, before = torch.get_num_threads(), random_state.capture()
    try:
        torch.set_num_threads(1)
        torch.manual_seed(codec.seed)
        with _folder(codec, plan, ternary) as folder:
            if plan.processes > 1:
                return _learned(_launched(codec, x, plan, ternary, chosen, folder))
            model, data, loss, held_out = make(codec, x, plan, ternary)
            assert isinstance(model, Decoder)
            facts = {"module": __name__, "options": options_of(codec, plan, ternary)}
            how = facts, title(codec, ternary), plan.folder is not None
            with joined(plan.device) as processes:
                train(model, data, loss, chosen, folder / "run", held_out, processes, *how)
            return _learned(model)
    finally:
        torch.set_num_threads(threads)
        random_state.restore(before)


@contextmanager
def _folder(codec: SuccessiveRefinement | BitPlanes, plan: Plan, ternary: bool) -> Iterator[Path]:
    """Where checkpoints lie: in the plan's folder, where they stay, or nowhere that lasts."""
    if plan.folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
    else:
        yield Path(plan.folder, f"{codec.name}{'_ternary' if ternary else ''}-seed-{codec.seed}")


def title(codec: SuccessiveRefinement | BitPlanes, ternary: bool) -> str:
    """What the progress bar says: which of a table's trainings it is."""
    form, _, _ = codec.name.rpartition("_")
    kind = {"successive_refinement": "", "bit_planes": " planes"}.get(form, f" {codec.name}")
    return f"train matryoshka{kind}{' ternary' if ternary else ''}, seed {codec.seed}"


def _learned(model: Decoder) -> Learned:
    model = model.cpu()
    with torch.no_grad():
        # In components' own units, so that a decoder needs no others: |P_j| is in what it multiplies.
        unit = (len(model.synthesis) / float(model.variance)) ** 0.5
        inner, outer = (model.weights(matrix).numpy() for matrix in (model.inner, model.outer))
        biases, gates, gains = (one.numpy().copy() for one in (model.biases, model.gates, model.gains()))
        found = Network(inner * unit, outer.copy(), biases, gates, gains, np.array(model.sizes))
        moved = isinstance(model, Embedder) and model.shift is not None
        return Learned(found, model.encoder().numpy().copy() if moved else None)  # type: ignore[operator]


def _launched(
    codec: SuccessiveRefinement | BitPlanes,
    x: Array,
    plan: Plan,
    ternary: bool,
    chosen: settings.Settings,
    folder: Path,
) -> Decoder:
    """The model as several processes have trained it, now or before a fit was killed.

    Raises SystemExit if they end otherwise: they say why; and UserError for what was trained otherwise.
    """
    found, options = folder / "found.safetensors", options_of(codec, plan, ternary)
    if not found.exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows, closed = folder / "rows.npy", folder / "codec.safetensors"
        np.save(rows, x)
        module = "bit_planes" if isinstance(codec, BitPlanes) else "successive_refinement"
        codecs.save(codec.prefix(codec.bits), module, closed, {"seed": codec.seed})  # by a name that the module builds
        command = [sys.executable, "-m", "pipeline.training.launch", "--processes", str(plan.processes)]
        command += ["pipeline.training.run", "--module", __name__, "--inputs", str(rows), str(closed)]
        command += ["--options", json.dumps(options), "--settings", json.dumps(chosen.to_json())]
        command += ["--folder", str(folder / "run"), "--output", str(found.with_suffix("")), "--device", plan.device]
        command += ["--name", title(codec, ternary), *(["--temporary"] if plan.folder is None else [])]
        if (code := subprocess.run(command, check=False).returncode) != 0:
            raise SystemExit(code)  # what was wrong has been said
        rows.unlink()
    made, saved = make(codec, x, plan, ternary), checkpoint.read(found)
    now = {"data": made.data.identity, "module": __name__, "options": options, "settings": chosen.to_json()}
    checkpoint.check_configuration(found, {key: saved.facts.get(key) for key in now}, now)
    assert isinstance(made.model, Decoder)
    made.model.load_state_dict(saved.part("model"))
    return made.model


def task(inputs: Sequence[Path], options: Mapping[str, Any]) -> Task:
    """For pipeline/training/run.py. Raises UserError for other options, or files that are not what they should be."""
    check_keys("options", options, [], ["plan", "shared", "ternary"])
    if len(inputs) != 2:
        raise UserError(f"--inputs: rows and a codec, not {len(inputs)} files")
    rows, file = inputs
    codec = codecs.load(file)
    if not isinstance(codec, SuccessiveRefinement | BitPlanes):
        raise UserError(f"{file}: {codec.name} is no nested code that can be trained")
    return make(codec, np.load(rows, allow_pickle=False), plan_of(options["plan"]), bool(options["ternary"]))
