"""One of the processes that a launcher starts: `python -m tracecraft.train.worker TASK`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tracecraft.errors import TracecraftError
from tracecraft.train.sft import PROGRESS, Task, run


def main(path: Path) -> int:
    """Train as the task says; progress goes to a file beside it, one JSON object a line."""
    task = Task(**json.loads(path.read_bytes()))
    handle = os.open(path.with_name(PROGRESS), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(told: dict[str, Any]) -> None:
        os.write(handle, json.dumps(told).encode() + b"\n")

    try:
        run(task, tell)
    except TracecraftError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    finally:
        os.close(handle)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
