"""What the neurons of a trained network did on one input, as it lies on disk: for figures.

A safetensors file. Of each layer, named <group>/<name>, over the S steps of all places (words or tokens, T steps each):

    spikes/<layer>       uint8 [S, n]       of n neurons, evenly over all that the layer has
    traced/<layer>       int32 [k]          which of the n have a membrane here; none of a layer that has no membrane
    potential/<layer>    float32 [S, k]     their u, before a spike's size is taken away
    threshold/<layer>    float32 [S, k]     what it is compared with

and of each attention, named by its group, of H heads over D distances:

    attention/<group>/weights    float32 [H, T, T, D]    by head, micro-step of the query, micro-step of the key, tokens
                                                         between the two: the mean weight of a key
    attention/<group>/shift, pace, decay    float32 [H]  f, w and g of pipeline/snn/attention.py

The header says the rest as JSON.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pipeline.stage import UserError
from pipeline.store import atomic_file

Array = np.ndarray
HEADER = "recording"


class Layer(NamedTuple):
    """Arrays as above; `neurons` is how many the layer has in all."""

    group: str
    name: str
    neurons: int
    spikes: Array
    traced: Array
    potential: Array
    threshold: Array


class Attention(NamedTuple):
    weights: Array
    shift: Array
    pace: Array
    decay: Array


class Recording(NamedTuple):
    """`places`: what was read at each; `rests`: whether neurons come to rest between places, or go on; `marks`: places
    that a figure points at, by what is there."""

    network: str
    timesteps: int
    places: list[str]
    rests: bool
    layers: list[Layer]
    attention: Mapping[str, Attention]
    marks: Mapping[str, int]


ARRAYS = ("spikes", "traced", "potential", "threshold")
FACTS = ("network", "timesteps", "places", "rests", "marks")


def write(path: Path, recording: Recording) -> None:
    arrays = {
        f"{what}/{layer.group}/{layer.name}": getattr(layer, what) for layer in recording.layers for what in ARRAYS
    }
    for group, attention in recording.attention.items():
        arrays |= {f"attention/{group}/{what}": array for what, array in attention._asdict().items()}
    header = {
        **{name: getattr(recording, name) for name in FACTS},
        "layers": [[layer.group, layer.name, layer.neurons] for layer in recording.layers],
        "attention": list(recording.attention),
    }
    with atomic_file(path) as temporary:
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(contiguous, temporary, metadata={HEADER: json.dumps(header, sort_keys=True)})


def _check(recording: Recording) -> Recording:
    """The recording itself. Raises ValueError, naming the layer, attention or mark, for arrays that do not belong
    together or hold NaN or infinity, and for counts that are none."""
    if type(recording.timesteps) is not int:
        raise ValueError(f"timesteps {recording.timesteps!r}")
    for layer in recording.layers:
        _check_layer(layer, len(recording.places) * recording.timesteps)
    heads = next((one.shift.shape for one in recording.attention.values()), ())
    for group, one in recording.attention.items():
        _check_attention(group, one, heads, recording.timesteps)
    for name, place in recording.marks.items():
        if place not in range(len(recording.places)):
            raise ValueError(f"mark {name!r} at place {place!r} of {len(recording.places)}")
    return recording


def _check_layer(layer: Layer, steps: int) -> None:
    name, shown, traced = f"{layer.group}/{layer.name}", layer.spikes.shape[-1:], layer.traced.shape
    shapes = [one.shape for one in (layer.spikes, layer.potential, layer.threshold)]
    if steps < 1 or len(traced) != 1 or shapes != [(steps, *shown), (steps, *traced), (steps, *traced)]:
        raise ValueError(f"{name}: arrays of {shapes} for {steps} steps")
    if layer.traced.dtype.kind not in "iu" or not np.isin(layer.traced, np.arange(*shown)).all():
        raise ValueError(f"{name}: traces {layer.traced.tolist()} of {shown[0]} neurons")
    if type(layer.neurons) is not int or layer.neurons < shown[0]:
        raise ValueError(f"{name}: shows {shown[0]} of {layer.neurons!r} neurons")
    if not _finite(layer.potential, layer.threshold):
        raise ValueError(f"{name}: a membrane that is no finite number")


def _check_attention(group: str, one: Attention, heads: tuple[int, ...], timesteps: int) -> None:
    """`heads`: the shape [H] that the arrays of all groups share."""
    shaped = one.weights.shape[:-1] == (*heads, timesteps, timesteps) and one.weights.size
    if len(heads) != 1 or not shaped or any(x.shape != heads for x in (one.shift, one.pace, one.decay)):
        what = f"{heads} heads and {timesteps} micro-steps"
        raise ValueError(f"attention/{group}: weights of {one.weights.shape} for {what}")
    if not _finite(*one):
        raise ValueError(f"attention/{group}: a weight that is no finite number")


def _finite(*arrays: Array) -> bool:
    """Whether all are of a float type, without NaN and infinity: a figure has no place for others."""
    return all(x.dtype.kind == "f" and np.isfinite(x).all() for x in arrays)


def read(path: Path) -> Recording:
    """Raises UserError, naming the file, for one that is missing, broken or none of these."""
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            layers = [
                Layer(group, name, neurons, *(file.get_tensor(f"{what}/{group}/{name}") for what in ARRAYS))
                for group, name, neurons in header["layers"]
            ]
            attention = {
                group: Attention(*(file.get_tensor(f"attention/{group}/{what}") for what in Attention._fields))
                for group in header["attention"]
            }
            facts = {name: header[name] for name in FACTS}
            return _check(Recording(**facts, layers=layers, attention=attention))
    except (OSError, SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a recording of a network ({type(error).__name__}: {error})") from None
