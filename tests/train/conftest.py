"""One thread for torch: two on a shared core wait for each other longer than they compute, and
another number of threads sums in another order."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    import torch  # another test may have started it with more

    torch.set_num_threads(1)
