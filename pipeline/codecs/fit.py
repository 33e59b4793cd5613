"""Fit the codecs of one module on one embedding table, for every seed, and write them and their codes.

    python -m pipeline.codecs.fit --embedding data/embeddings/minilm.parquet --module binary \\
        --representations sign sign_centered --seeds 0 1 2 --output results/codecs/minilm/binary

Makes a directory with manifest.json and, a representation, `<name>/seed-<s>.safetensors` (`<name>/codec.safetensors`
for one that learns nothing) and `<name>/codes.parquet`, the whole table encoded by the first seed's codec. A
representation that a table of this shape cannot have is left out; the manifest and the log say why.
"""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from pipeline import codec as codecs
from pipeline import stage
from pipeline.codec import Array, Codec, NotApplicableError
from pipeline.manifest import Manifest, write_manifest
from pipeline.split import check_rows, check_seeds, split
from pipeline.stage import UserError
from pipeline.store import (
    EmbeddingTable,
    array_digest,
    atomic_directory,
    read_embedding,
    unit_rows,
    versions,
)

LIBRARIES = ("numpy", "faiss-cpu", "faiss-gpu", "sentence-transformers", "constriction", "zstandard", "torch")

Fit = Callable[[str, int], Codec]
"""(name, seed) -> the fitted codec"""


def fit_one(module: str, name: str, seed: int, table: EmbeddingTable, unit: Array) -> Codec:
    """One codec, fitted on the fit rows of the seed's split."""
    codec = codecs.build(module, name, seed)
    return codec.fit(codecs.input_of(codec, table.vectors, unit)[split(len(unit), seed).fit])


def fitting(
    table: EmbeddingTable, unit: Array, module: str, names: Sequence[str], options: Mapping[str, Any] | None
) -> Fit:
    """How a module's codecs are fitted: one by one, or all of a seed at once where it says how (`fit_together`).

    Raises UserError for options that the module does not take.
    """
    together = codecs.together(module)
    if together is None:
        if options is not None:
            raise UserError(f"--options: {codecs.dotted(module)} takes none")
        return lambda name, seed: fit_one(module, name, seed, table, unit)
    fitted: dict[int, Mapping[str, Codec | NotApplicableError]] = {}

    def fit(name: str, seed: int) -> Codec:
        if seed not in fitted:
            fitted[seed] = together(names, seed, unit[split(len(unit), seed).fit], options or {})
        found = fitted[seed][name]
        if isinstance(found, NotApplicableError):  # of this one alone
            raise found
        return found

    return fit


def fit_module(
    table: EmbeddingTable,
    module: str,
    names: Sequence[str],
    seeds: Sequence[int],
    output: str | Path,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Fit, encode and write all of a module's representations; `options` are its own (training.matryoshka).

    Where they name a `folder`, a module that trains keeps checkpoints there, a folder `<training>-seed-<seed>` each,
    also of trainings that have ended: a fit that was killed repeats none. They go when the output is in place.

    Raises UserError for a name that there is not, or one that is given twice, and for unusable options.
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"representations: {module}: {twice[0]!r} is given twice")
    unit = unit_rows(table.vectors)
    for name in names:
        codecs.build(module, name, seeds[0])  # a mistyped name fails before anything is fitted
    fit = fitting(table, unit, module, names, options)
    provenance = {
        "embedding_digest": array_digest(table.vectors),
        "versions": versions(*LIBRARIES),
    }
    files: dict[str, dict[int, str]] = {}
    skipped: dict[str, str] = {}
    # One thread: sums come out the same however many cores there are. Not before `build` has loaded the libraries: one
    # that is loaded later is not limited.
    with threadpool_limits(1), atomic_directory(output) as directory:
        for name in stage.progress(names, f"fit {module}", unit="codec"):
            try:
                files[name] = _write(fit, table, unit, module, name, seeds, directory, provenance)
            except NotApplicableError as reason:
                stage.log.warning("%s left out: %s", name, reason)
                skipped[name] = str(reason)
        write_manifest(Manifest(directory, module, tuple(seeds), files, skipped))
    if options and options.get("folder"):
        _remove_trainings(Path(options["folder"]))


def _remove_trainings(folder: Path) -> None:
    """Remove `<training>-seed-<seed>` in it, and the folder if nothing else is there."""
    for training in folder.glob("*-seed-*"):
        shutil.rmtree(training)
    if folder.exists() and not any(folder.iterdir()):
        folder.rmdir()


def _write(
    fit: Fit,
    table: EmbeddingTable,
    unit: Array,
    module: str,
    name: str,
    seeds: Sequence[int],
    directory: Path,
    provenance: dict[str, Any],
) -> dict[int, str]:
    """Fit and save one representation for every seed, and the first seed's codes. Returns seed -> file name."""
    files: dict[int, str] = {}
    for seed in seeds:
        codec = fit(name, seed)
        file = f"{name}/seed-{seed}.safetensors" if codec.learns else f"{name}/codec.safetensors"
        codecs.save(codec, module, directory / file, {"seed": seed, **provenance})
        if not files:
            codes = codec.encode(codecs.input_of(codec, table.vectors, unit))
            facts = {"representation": name, "codec": file, "embedding_digest": provenance["embedding_digest"]}
            codecs.write_codes(directory / name / "codes.parquet", table.words, codes, facts)
        files[seed] = file
        if not codec.learns:
            return dict.fromkeys(seeds, file)
    return files


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--embedding", type=Path, required=True, help="embedding table (Parquet)")
    parser.add_argument("--module", required=True, help="a file of pipeline/codecs, without .py")
    parser.add_argument("--representations", nargs="+", required=True, help="names that the module builds")
    parser.add_argument("--seeds", nargs="+", type=int, required=True, help="one split and one fit a seed")
    parser.add_argument("--options", help="the module's own, as JSON: training.<module> of the configuration")
    parser.add_argument("--output", type=Path, required=True, help="directory to make")
    args = parser.parse_args(argv)
    check_seeds(args.seeds)
    table = read_embedding(args.embedding)
    check_rows(len(table.words), str(args.embedding))
    options = None if args.options is None else stage.options(args.options)
    fit_module(table, args.module, args.representations, args.seeds, args.output, options)


if __name__ == "__main__":
    sys.exit(stage.run(main))
