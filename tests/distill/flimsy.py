"""An engine's process that is up in no time, and dies as it is told."""

import json
import sys
from contextlib import closing, suppress
from multiprocessing.connection import Connection

from tracecraft.engine import Completion

TROUBLE = "RuntimeError: poison"


def serve(connection: Connection, poison: str, room: int = 1_000, trouble: str = TROUBLE) -> None:
    """Answer all that has come, together; die of the poison, or of more than there is room for."""
    connection.send(("ready",))
    while True:
        batch = [connection.recv()]
        while connection.poll(0.1):
            batch.append(connection.recv())
        print("holds", len(batch), flush=True)
        if len(batch) > room:
            sys.exit("RuntimeError: CUDA out of memory")
        if poison and any(poison in one.prompt for _, one in batch):
            connection.send(("broken", f"{trouble}\n  next   take another"))
            sys.exit(1)
        for name, one in batch:
            connection.send(("said", [(name, Completion(one.prompt, "stop"))]))


if __name__ == "__main__":
    with closing(Connection(int(sys.argv[1]))) as there, suppress(EOFError):
        serve(there, **json.loads(sys.argv[2]))
