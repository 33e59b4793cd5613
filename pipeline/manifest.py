"""A directory that `pipeline.codecs.fit` made: its manifest.json, and the codecs and codes that it names.

    {"module": "binary", "seeds": [0, 1], "skipped": {"<name>": "<why the table cannot have it>"},
     "files": {"<name>": {"0": "<name>/seed-0.safetensors", "1": "<name>/seed-1.safetensors"}}}

Whoever reads codecs or codes reads them through here, so that a directory of another table, one that was put together
by hand, or a file that lies in another's place is refused before anything is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pipeline.codec import Codec, Codes, load, read_codes
from pipeline.stage import UserError
from pipeline.store import read_json, write_json

NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """`files`: representation -> seed -> file, within `folder`; `skipped`: representation -> why it is left out."""

    folder: Path
    module: str
    seeds: tuple[int, ...]  # in the order of fitting: the codes are the first one's
    files: dict[str, dict[int, str]]
    skipped: dict[str, str]

    def codec(self, name: str, seed: int, embedding_digest: str) -> Codec:
        """The codec of one seed. Raises UserError, naming the file, for one of another name, seed or embedding."""
        if seed not in self.files[name]:
            raise UserError(f"{self.folder}: {name} was not fitted for seed {seed}")
        file = self.files[name][seed]
        fitted = next(one for one, of_one in self.files[name].items() if of_one == file)  # seeds may share a file
        facts = {"module": self.module, "name": name, "seed": fitted, "embedding_digest": embedding_digest}
        return load(self.folder / file, facts)

    def codes_file(self, name: str) -> Path:
        return self.folder / name / "codes.parquet"

    def codes(self, name: str, words: Sequence[str], embedding_digest: str) -> Codes:
        """The codes of the whole table, by the first seed's codec. Raises UserError as `codec`, and for other words."""
        facts = {"representation": name, "codec": self.files[name][self.seeds[0]], "embedding_digest": embedding_digest}
        found, codes = read_codes(self.codes_file(name), facts)
        if found != list(words):
            raise UserError(f"{self.codes_file(name)}: holds codes of other words than the embedding table")
        return codes


def write_manifest(manifest: Manifest) -> None:
    """Write it into its folder."""
    files = {name: {str(seed): file for seed, file in of.items()} for name, of in manifest.files.items()}
    value = {"module": manifest.module, "seeds": list(manifest.seeds), "files": files, "skipped": manifest.skipped}
    write_json(manifest.folder / NAME, value)


def read_manifest(folder: Path) -> Manifest:
    """Raises UserError, naming the file and the key, unless it is what `write_manifest` writes and its files exist."""
    path = Path(folder) / NAME
    value = read_json(path)
    if not isinstance(value, dict):
        _refuse(path, f"a {type(value).__name__} instead of an object")
    for key in ("module", "seeds", "files", "skipped"):
        if key not in value:
            _refuse(path, f"no key {key!r}")
    module, seeds, skipped = value["module"], value["seeds"], value["skipped"]
    if not isinstance(module, str):
        _refuse(path, f"module: {module!r} is no name")
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        _refuse(path, f"seeds: {seeds!r} is no list of whole numbers")
    if len(set(seeds)) < len(seeds):
        _refuse(path, f"seeds: {seeds!r} holds one twice")
    if not isinstance(skipped, dict) or not all(isinstance(reason, str) for reason in skipped.values()):
        _refuse(path, f"skipped: {skipped!r} does not give a reason for each name")
    if not isinstance(value["files"], dict):
        _refuse(path, f"files: {value['files']!r} does not give a name's files")
    files = {name: _files_of(path, name, of, seeds) for name, of in value["files"].items()}
    if both := sorted(files.keys() & skipped.keys()):
        _refuse(path, f"{both[0]!r} stands in both files and skipped")
    return Manifest(Path(folder), module, tuple(seeds), files, skipped)


def _files_of(path: Path, name: str, of: Any, seeds: list[int]) -> dict[int, str]:
    """A representation's files by seed, in the order of `seeds`."""
    if not isinstance(of, dict) or of.keys() != {str(seed) for seed in seeds}:
        _refuse(path, f"files.{name}: {of!r} does not give a file for each of the seeds {seeds}")
    for seed, file in of.items():
        if not isinstance(file, str) or not file.startswith(f"{name}/") or ".." in Path(file).parts:
            _refuse(path, f"files.{name}.{seed}: {file!r} is no file of {name}/")
        if not (path.parent / file).is_file():
            raise UserError(f"{path}: files.{name}.{seed}: there is no file {path.parent / file}")
    return {seed: of[str(seed)] for seed in seeds}


def _refuse(path: Path, what: str) -> NoReturn:
    raise UserError(f"{path}: not what pipeline.codecs.fit writes: {what}")
