"""A module's files are itself and what it imports, and the house stands in floors."""

from pathlib import Path

import pytest

from pipeline import dependencies

PACKAGE = dependencies.PACKAGE
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def names(*modules: str) -> set[str]:
    return {str(Path(file).resolve().relative_to(PACKAGE)) for file in dependencies.files(*modules)}


def test_a_module_depends_on_itself_and_on_what_it_imports_indirectly() -> None:
    found = names("pipeline.codecs.binary")
    assert {"codecs/binary.py", "bits.py", "exhaustive.py", "codec.py", "store.py", "stage.py"} <= found


def test_a_module_does_not_depend_on_its_neighbours() -> None:
    assert not names("pipeline.codecs.fit") & {"codecs/binary.py", "codecs/floats.py", "evaluation/measure.py"}
    assert "codecs/faiss_peers.py" not in names("pipeline.codecs.binary", "pipeline.codecs.fit")


def test_an_unknown_module_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no module 'pipeline\.nowhere'"):
        dependencies.files("pipeline.nowhere")


def dotted(path: Path) -> str:
    return ".".join(["pipeline", *path.relative_to(PACKAGE).with_suffix("").parts])


FLOORS = {"": 0, "neurons": 0.5, "corpus": 1, "embeddings": 1, "training": 1, "plots": 1, "codecs": 2, "spikes": 2}
FLOORS |= {"snn": 3, "cortex": 3, "evolution": 3, "evaluation": 4}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_go_down(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0] if path.parent != PACKAGE else ""
    for file in names(dotted(path)):
        other = Path(file).parts[0] if len(Path(file).parts) > 1 else ""
        assert FLOORS[other] < FLOORS[room] or other == room, f"{path.name} of {room!r} reaches up to {file}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_snakemake_or_pickle(path: Path) -> None:
    text = path.read_text()
    assert "import snakemake" not in text
    assert "from snakemake" not in text
    assert "import pickle" not in text


def test_no_two_files_import_each_other() -> None:
    for path in MODULES:
        for file in dependencies.files(dotted(path)):
            other = Path(file).resolve()
            if other != path and other.name != "__init__.py":
                assert path not in map(Path.resolve, map(Path, dependencies.files(dotted(other)))), (
                    f"{path} and {other} import each other"
                )
