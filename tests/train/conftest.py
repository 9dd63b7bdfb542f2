"""One thread for torch: two on a shared core wait for each other longer than they compute."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
