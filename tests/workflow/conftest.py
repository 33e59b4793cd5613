"""Copies of the tree, in which the tests run Snakemake as a user would."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Tree:
    """A folder that holds the files of the workflow, so that a test may edit them and run in it."""

    folder: Path

    def command(self, *arguments: str, configfiles: Sequence[str] = ("config/test.yaml",)) -> list[str]:
        # `python -m` puts the folder itself first on the path: the copy's `pipeline` runs, here and in the jobs.
        return [sys.executable, "-m", "snakemake", *arguments, *(["--configfile", *configfiles] if configfiles else [])]

    def run(self, *arguments: str, **how: Sequence[str]) -> subprocess.CompletedProcess[str]:
        command = self.command(*arguments, **how)
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=1800)


@pytest.fixture(scope="session")
def plant() -> Callable[[Path], Tree]:
    """What makes a tree in a folder that does not exist yet."""

    def plant(folder: Path) -> Tree:
        folder.mkdir(parents=True)
        for name in ("Snakefile", "config", "profiles", "pipeline", "workflow", "performance"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "user.yaml"))
            else:
                shutil.copy(source, folder / name)
        return Tree(folder)

    return plant
