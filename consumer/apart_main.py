"""The process that reads results: ``python -m consumer.apart_main DESCRIPTOR``, started by `consumer.apart`."""

from __future__ import annotations

import logging
import sys
import traceback
from multiprocessing.connection import Connection

from backends.errors import TransientError
from consumer.analyse import Findings, analyse
from consumer.apart import Bug, Logged, Task, Told
from consumer.snapshot import Snapshot


class _Handler(logging.Handler):
    """Sends what is logged to the worker, whose log says which delivery it is about."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        self._connection.send(Logged(record.levelno, record.getMessage()))


def main() -> None:
    """Do the one task; ends when the worker does not listen any more."""
    with Connection(int(sys.argv[1])) as connection:
        logging.basicConfig(handlers=[_Handler(connection)], level=logging.INFO)
        try:
            connection.send(_done(connection.recv(), connection))
        except (EOFError, ConnectionError):
            sys.exit(1)


def _done(task: Task, connection: Connection) -> Told:
    snapshot = Snapshot(task.files, task.left_out, lambda _left_out: task.files)
    try:
        found = analyse(snapshot, task.folder, progress=connection.send)
    except (EOFError, ConnectionError):
        raise
    except (TransientError, OSError) as error:
        return error
    except Exception:  # noqa: BLE001 - it is told, to whom it concerns
        return Bug(traceback.format_exc())
    return Findings(found.key, found.plots, found.files)


if __name__ == "__main__":
    main()
