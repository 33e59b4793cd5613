"""The one interface: a Codec is fitted, encodes, decodes, and says what it costs.

Everything that stands in the table is a Codec: float32, int8, sign bits, the faiss peers, spikes, trained spiking
networks. One evaluation serves them all, so every row of the table means the same thing.

What fitting learns lives in one place, `codec.shared`: named arrays. They are what is saved, and their bytes are the
table's `shared_bytes`. A codec is rebuilt from its module, its name and those arrays; nothing that is loaded runs code.
"""

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pipeline.stage import UserError
from pipeline.store import atomic_file, read_parquet, write_parquet

Array = np.ndarray
Search = Callable[[Array, int], Array]
"""(queries float32 [q, d], k) -> row numbers int64 [q, k], best first; -1 where there are fewer than k."""


@dataclass(frozen=True)
class Strings:
    """Byte strings of different lengths, as an entropy coder makes them: one for every `group` vectors of `count`.

    `data` uint8 [total], the strings one behind the other, and `lengths` [ceil(count / group)] of the smallest unsigned
    type that holds them: both are stored, and both count. A group of 1 lets each vector be read by itself.
    """

    data: Array
    lengths: Array
    count: int
    group: int = 1

    def __post_init__(self) -> None:
        if len(self.lengths) != -(-self.count // self.group) or int(self.lengths.sum()) != len(self.data):
            raise ValueError(f"{len(self.lengths)} strings, {len(self.data)} bytes, {self.count} by {self.group}")

    @classmethod
    def of(cls, strings: Sequence[bytes], count: int | None = None, group: int = 1) -> Self:
        """From the strings themselves; `count` vectors in all, where a group is more than one."""
        longest = max(map(len, strings), default=0)
        lengths = np.fromiter(map(len, strings), np.min_scalar_type(longest), len(strings))
        data = np.frombuffer(b"".join(strings), np.uint8)
        return cls(data, lengths, len(strings) if count is None else count, group)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: Array) -> "Strings":
        if self.group != 1:
            raise TypeError(f"{self.group} vectors share a string: none can be taken by itself")
        strings = self.strings()
        return Strings.of([strings[row] for row in np.arange(self.count)[rows]])

    @property
    def nbytes(self) -> int:
        return self.data.nbytes + self.lengths.nbytes

    def strings(self) -> list[bytes]:
        """The strings, in order."""
        ends = np.cumsum(self.lengths, dtype=np.int64).tolist()
        whole = self.data.tobytes()
        return [whole[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)] if ends else []


@dataclass(frozen=True)
class Codes:
    """What is stored for n vectors: named arrays whose first axis is the vector. Scales and norms count as well."""

    arrays: Mapping[str, Any]  # Array, or Strings

    def __post_init__(self) -> None:
        if len({len(array) for array in self.arrays.values()}) != 1:
            raise ValueError(f"code arrays differ in length: { {k: len(v) for k, v in self.arrays.items()} }")

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, name: str) -> Any:
        return self.arrays[name]

    @property
    def nbytes(self) -> int:
        """Exact size in bytes of all that is stored for these vectors."""
        return sum(array.nbytes for array in self.arrays.values())

    def take(self, rows: Array) -> "Codes":
        """The codes of some rows, in the order given."""
        return Codes({name: array[rows] for name, array in self.arrays.items()})


class Codec(Protocol):
    """float32 vectors [n, d] to codes and back. Rows have unit norm, but for a lossless codec: the source's raw values.

    Attributes:
        name: its `representation` in the table and in the config.
        family: its `family` in the table.
        lossless: whether it stores the raw table bit for bit, and so is given that instead of unit rows.
        learns: whether `fit` looks at the data (its result then depends on the split, so on the seed).
        decodes: whether it has a decoder at all; without one the fidelity cells stay empty.
        shared: what decoding and searching need besides the codes.
    """

    family: ClassVar[str]
    lossless: ClassVar[bool]

    @property
    def name(self) -> str: ...
    @property
    def learns(self) -> bool: ...
    @property
    def decodes(self) -> bool: ...
    @property
    def shared(self) -> dict[str, Array]: ...

    def fit(self, x: Array) -> Self: ...
    def encode(self, x: Array) -> Codes: ...
    def decode(self, codes: Codes) -> Array: ...


@runtime_checkable
class Searchable(Protocol):
    """Ranks without decoding. `searches` names its rules: `hamming`, `asymmetric` (float query) or `native`."""

    @property
    def searches(self) -> tuple[str, ...]: ...

    def searcher(self, rule: str, codes: Codes) -> Search: ...


@runtime_checkable
class Comparable(Protocol):
    """Compares code with code. `compares` names the rules that need no float vector on either side."""

    @property
    def compares(self) -> tuple[str, ...]: ...

    def similarity(self, rule: str, a: Codes, b: Codes) -> Array:
        """float32 [len(a), len(b)], larger is nearer, 1 for equal codes, -1 for opposite ones."""
        ...


@runtime_checkable
class Spiking(Protocol):
    """A code whose codes are spike trains."""

    @property
    def timesteps(self) -> int: ...

    def spike_train(self, codes: Codes) -> Any:
        """The `SpikeTrain` (pipeline/spikes/train.py) that the codes are."""
        ...


@runtime_checkable
class Ranged(Protocol):
    """A code that has a range for values, beyond which they are clipped."""

    def outside(self, x: Array) -> Array:
        """bool [n, d]: values of rows x float32 [n, d] beyond the range."""
        ...


@runtime_checkable
class Quantizing(Protocol):
    """A code of integers: which ones values are rounded to, and which ones codes hold. They are to be the same."""

    def integers(self, x: Array) -> Array:
        """Integers [n, d] of rows x float32 [n, d]."""
        ...

    def stored_integers(self, codes: Codes) -> Array:
        """Integers [n, d] of the codes."""
        ...


@runtime_checkable
class Uniform(Ranged, Protocol):
    """A code whose levels lie evenly in its range."""

    @property
    def step(self) -> Array:
        """The distance of two levels of each dimension, float32 [d]."""
        ...


FitTogether = Callable[[Sequence[str], int, Array, Mapping[str, Any]], dict[str, Codec]]
"""(names, seed, fit rows x float32 [n, d], options) -> fitted codecs by name"""


@dataclass
class StoredCodec:
    """What codecs have in common: a name, a seed and the arrays that fitting leaves in `shared`."""

    name: str
    seed: int = 0
    shared: dict[str, Array] = field(default_factory=dict)

    family: ClassVar[str]
    lossless: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    decodes: ClassVar[bool] = True


class NotApplicableError(Exception):
    """A representation that a table of this shape cannot have (say, 128 principal components of 50 dimensions)."""


def dimensions(count: int) -> str:
    """`1 dimension`, `300 dimensions`."""
    return f"{count} dimension{'' if count == 1 else 's'}"


def check_vectors(x: Array, dims: int | None = None) -> Array:
    """`x` itself, if it is float32 [n > 0, d] and finite. Raises UserError that names the fault and the row."""
    if x.ndim != 2 or not x.size:
        raise UserError(f"vectors of shape {x.shape}: expected [n, d] with at least one row and one dimension")
    if dims is not None and x.shape[1] != dims:
        raise UserError(f"vectors of {dimensions(x.shape[1])} for a codec fitted on {dims}")
    if x.dtype != np.float32:
        raise UserError(f"vectors of type {x.dtype}: expected float32")
    if len(bad := np.flatnonzero(~np.isfinite(x).all(axis=1))):
        raise UserError(f"vector {bad[0]} holds NaN or infinity")
    return x


def shared_bytes(codec: Codec) -> int:
    """Bytes of all that decoding and searching need besides the codes."""
    return sum(array.nbytes for array in codec.shared.values())


def input_of(codec: Codec, raw: Array, unit: Array) -> Array:
    """What a codec is given: rows of unit norm, or the source's raw values if it is lossless."""
    return raw if codec.lossless else unit


ROOMS = ("codecs", "spikes", "snn")
"""Folders of the package that codec modules lie in. A name is that of one module in all of them."""


def modules() -> list[str]:
    """The codec modules: files of these folders with a `build`, by name. None of them is imported."""
    files = sorted(file for room in ROOMS for file in (Path(__file__).parent / room).glob("*.py"))
    return [file.stem for file in files if "\ndef build(" in file.read_text(encoding="utf-8")]


def dotted(module: str) -> str:
    """`pipeline.codecs.binary` of `binary`. Raises UserError for a module that there is not."""
    if not module.isidentifier():
        raise UserError(f"representations: {module!r} is no name of a codec module")
    for room in ROOMS:
        if (Path(__file__).parent / room / f"{module}.py").is_file():
            return f"pipeline.{room}.{module}"
    places = " or ".join(f"pipeline/{room}/{module}.py" for room in ROOMS)
    raise UserError(f"representations: there is no codec module {module!r} ({places})")


def build(module: str, name: str, seed: int) -> Codec:
    """The unfitted codec `name` of a module.

    Raises UserError for a module or name that there is not.
    """
    return _imported(module).build(name, seed)


def together(module: str) -> FitTogether | None:
    """How the module fits all codecs of a seed at once, if it does: its `fit_together`.

    Raises UserError for a module that there is not.
    """
    return getattr(_imported(module), "fit_together", None)


def _imported(module: str) -> Any:
    found = importlib.import_module(dotted(module))
    if not hasattr(found, "build"):
        raise UserError(f"representations: {found.__name__} holds no codecs")
    return found


# --- on disk -------------------------------------------------------------------------------------------------------


def _checksum(header: Mapping[str, Any], shared: Mapping[str, Array]) -> str:
    """SHA-256 of all that a codec file says: a flipped byte in its name must not load as another codec."""
    whole = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(shared):
        whole.update(f"{name}\0{shared[name].dtype.str}\0{shared[name].shape}\0".encode())
        whole.update(np.ascontiguousarray(shared[name]).data)
    return whole.hexdigest()


def save(codec: Codec, module: str, path: str | Path, facts: Mapping[str, Any]) -> None:
    """Write a fitted codec as safetensors; the header says how to rebuild it and holds `facts` (inputs, versions)."""
    shared = {name: np.ascontiguousarray(array) for name, array in codec.shared.items()}
    header = {**facts, "module": module, "name": codec.name}
    header["sha256"] = _checksum(header, shared)
    with atomic_file(path) as temporary:
        save_file(shared, temporary, metadata={"codec": json.dumps(header, sort_keys=True)})


def check_facts(path: str | Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raises UserError, naming the file, for the first fact that is not the one expected."""
    for key, value in expected.items():
        if found.get(key) != value:
            raise UserError(f"{path}: belongs elsewhere: its {key} is {found.get(key)!r}, not {value!r}")


def load(path: str | Path, expected: Mapping[str, Any] | None = None) -> Codec:
    """Read a codec that `save` wrote. `expected`: what its header has to say (`name`, `embedding_digest`).

    Raises UserError, naming the file, if it is missing, cut short or altered, or its header says otherwise.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})["codec"])
            shared = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        module, name, checksum = (str(header[key]) for key in ("module", "name", "sha256"))
        del header["sha256"]
    except (OSError, SafetensorError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a whole codec file ({type(error).__name__}: {error})") from None
    if _checksum(header, shared) != checksum:
        raise UserError(f"{path}: its checksum is wrong, so the file has been altered or damaged")
    check_facts(path, header, expected or {})
    seed = header.get("seed", 0)
    if not isinstance(seed, int) or seed < 0:
        raise UserError(f"{path}: its seed is {seed!r}, which is no whole number of 0 or more")
    try:
        codec = build(module, name, seed)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    codec.shared.update(shared)
    return codec


def write_codes(path: str | Path, words: Sequence[str], codes: Codes, facts: Mapping[str, str]) -> None:
    """Parquet a row a vector: `word`, and each code array as bytes of fixed size (type and shape in the schema).

    Strings are bytes of any size; where a group of vectors shares one, it stands in the row of the first of them. The
    schema has a checksum of all of it: a flipped byte of a code is a code too, and Parquet would not tell.
    """
    table = codes_table(words, codes, facts)
    facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    write_parquet(path, table, {"sha256": _codes_checksum(facts, words, codes)})


def codes_table(words: Sequence[str], codes: Codes, facts: Mapping[str, str]) -> pa.Table:
    """The columns that `write_codes` writes, with `facts` and the codes' layout in the schema metadata."""
    columns: dict[str, pa.Array] = {"word": pa.array(words, pa.string())}
    layout: dict[str, list[Any]] = {}
    for name, array in codes.arrays.items():
        if isinstance(array, Strings):
            strings = dict(zip(range(0, len(array), array.group), array.strings(), strict=True))
            columns[name] = pa.array([strings.get(row) for row in range(len(array))], pa.large_binary())
            layout[name] = ["strings", [array.group]]
            continue
        width = array.nbytes // len(array)
        values = pa.py_buffer(np.ascontiguousarray(array))
        columns[name] = pa.Array.from_buffers(pa.binary(width), len(array), [None, values])
        layout[name] = [array.dtype.str, list(array.shape[1:])]
    return pa.table(columns, metadata={**facts, "layout": json.dumps(layout)})


def _codes_checksum(facts: Mapping[str, str], words: Sequence[str], codes: Codes) -> str:
    """SHA-256 of all that a file of codes says."""
    arrays: dict[str, Array] = {}
    for name, array in codes.arrays.items():
        if isinstance(array, Strings):
            arrays |= {f"{name}.data": array.data, f"{name}.lengths": array.lengths.astype(np.int64)}
        else:
            arrays[f"{name}.values"] = array
    return _checksum({"facts": dict(facts), "words": list(words)}, arrays)


def read_codes(path: str | Path, expected: Mapping[str, str] | None = None) -> tuple[list[str], Codes]:
    """Words and codes that `write_codes` wrote. `expected`: what its facts have to be (`representation`, `codec`).

    Raises UserError, naming the file, if it is not whole or says otherwise.
    """
    table = read_parquet(path)
    if b"layout" not in (table.schema.metadata or {}):
        raise UserError(f"{path}: holds no codes (its schema has no layout)")
    arrays: dict[str, Any] = {}
    try:
        facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        facts.pop("ARROW:schema", None)
        checksum = facts.pop("sha256", None)
        for name, (dtype, shape) in json.loads(facts["layout"]).items():
            column = table.column(name).combine_chunks()
            if dtype == "strings":
                arrays[name] = Strings.of(column.drop_null().to_pylist(), len(table), *shape)
                continue
            raw = np.frombuffer(column.buffers()[1], np.uint8)[: len(table) * column.type.byte_width]
            arrays[name] = raw.view(dtype).reshape(len(table), *shape)
        words, codes = table.column("word").to_pylist(), Codes(arrays)
        whole = _codes_checksum(facts, words, codes) == checksum
    except (ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError) as error:
        raise UserError(f"{path}: its columns are not the codes that its layout names ({error})") from None
    if not whole:
        raise UserError(f"{path}: its checksum is wrong, so the file has been altered or damaged")
    check_facts(path, facts, expected or {})
    return words, codes
