"""What all tests share: no deadlines, one thread a worker, compiled modules kept for the run, long files first."""

import os
import shutil
import tempfile

import pytest
from hypothesis import settings

# A busy machine is no failure: examples are counted, not timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# pytest-xdist starts a worker a core. The threads of faiss and BLAS would wait for cores that other workers have, and
# they wait spinning: a search takes minutes instead of seconds. The jobs of a workflow are told by Snakemake.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The tests start Python a few hundred times. Where no bytecode may stand beside the sources each start would compile
# all that it imports (as much time again); a folder of this run's own keeps it, for the workers too.
BYTECODE = os.environ.pop("PYTHONDONTWRITEBYTECODE", "") and tempfile.mkdtemp(prefix="bytecode-")
if BYTECODE:
    os.environ["PYTHONPYCACHEPREFIX"] = BYTECODE


# A worker takes whole files (--dist loadfile). The longest go first, so that none is left alone at the end.
LONG = (
    "tests/workflow/test_run.py",
    "tests/corpus/test_huggingface.py",
    "tests/embeddings/test_openai_endpoint.py",
    "tests/workflow/test_refusals.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(LONG)))


def pytest_unconfigure(config: pytest.Config) -> None:
    if BYTECODE:  # the process that made the folder, not a worker: those do not find the variable
        shutil.rmtree(BYTECODE, ignore_errors=True)
