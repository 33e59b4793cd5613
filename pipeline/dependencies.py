"""Which files of this package a module runs: itself and all that it imports, directly or not.

The workflow lists them as inputs of the rule that runs the module, so that editing a file reruns the jobs that depend
on it and no others. Imports are read from the source without running it; a module that is imported by name at run time
(a codec, a source) is named by the rule.
"""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def _file(module: str) -> Path | None:
    """The file of `pipeline.a.b`, or None if there is no such module."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _imports(path: Path) -> frozenset[str]:
    """Modules of this package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(name for name in found if name.split(".")[0] == "pipeline" and _file(name))


def files(*modules: str) -> list[str]:
    """Paths of all files that running `modules` (such as `pipeline.codecs.fit`) imports, sorted.

    They are relative to the working directory where they lie below it: a checkout that is moved keeps its results.
    Raises ValueError for a module that there is not.
    """
    reached: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in reached:
            continue
        path = _file(module)
        if path is None:
            raise ValueError(f"no module {module!r} in {PACKAGE}")
        reached[module] = path
        waiting += _imports(path)
    here = Path.cwd()
    return sorted({str(path.relative_to(here) if path.is_relative_to(here) else path) for path in reached.values()})
