import importlib.util
import os
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent

# The tests import it under the name that processes they start know it by.
_found = importlib.util.spec_from_file_location("subjects", HERE / "subjects.py")
assert _found is not None
assert _found.loader is not None
sys.modules["subjects"] = importlib.util.module_from_spec(_found)
_found.loader.exec_module(sys.modules["subjects"])


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Sums come out the same here and in processes that are started; and those find `subjects`."""
    torch.set_num_threads(1)
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "PYTHONPATH")}
    path = os.pathsep.join([str(HERE), *filter(None, [before["PYTHONPATH"]])])
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    yield
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
