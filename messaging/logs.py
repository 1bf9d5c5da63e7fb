"""Logs of every process: structlog, with the standard library's records through the same processors.

JSON lines on standard output; on a terminal, coloured text. Events are constant dotted names, facts are fields.
"""

from __future__ import annotations

import logging
import sys
from io import StringIO
from typing import Any, TextIO

import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from messaging.secrecy import hidden
from messaging.terminal import printable

KEPT = ("exc_info", "stack")  # which the renderer writes itself


def configure(role: str, *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Set up logging for a process; every line carries ``role``. Called by command-line modules only.

    Args:
        stream: where lines go; None: standard output, which is a command's own where it prints something.
    """
    stream = stream or sys.stdout

    def add_role(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event.setdefault("role", role)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_role,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    terminal = stream.isatty()
    render: list[Processor] = (
        [_printable, structlog.dev.ConsoleRenderer(exception_formatter=_traceback)]
        if terminal
        else [
            # Without local variables: they may be secrets.
            ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(sort_keys=True, default=str),
        ]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logging.raiseExceptions = False  # a full disk under the log must not put tracebacks elsewhere
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render, _without_secrets],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # pika tells every step of a connection at INFO, and at ERROR what its caller handles and tells better.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    for chatty in ("dropbox", "urllib3"):  # a line for each request
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _without_secrets(_: WrappedLogger, __: str, line: Any) -> str:
    return hidden(str(line))


def _printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """For a terminal: JSON escapes what would steer it, plain text does not."""
    return {printable(str(name)): value if name in KEPT else _shown(value) for name, value in event.items()}


def _shown(value: Any) -> Any:
    return value if isinstance(value, int | float | None) else printable(str(value))


def _traceback(stream: TextIO, error: ExcInfo) -> None:
    with StringIO() as plain:
        structlog.dev.plain_traceback(plain, error)
        stream.write(printable(plain.getvalue(), keep="\n"))
