"""Logs: JSON lines off a terminal, one form for ours and the libraries'."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


def lines(code: str) -> list[dict[str, Any]]:
    """What a process that runs ``code`` after setting up its logs writes to standard output."""
    program = f"import logging, structlog\nfrom messaging.logs import configure\nconfigure('worker')\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_event_is_one_json_line_with_its_facts_as_fields() -> None:
    (line,) = lines("structlog.get_logger().info('delivery.stored', delivery_id='d1', bytes=5, seconds=0.25)")

    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "delivery.stored",
        "level": "info",
        "role": "worker",
        "delivery_id": "d1",
        "bytes": 5,
        "seconds": 0.25,
    }


def test_a_record_of_the_standard_library_goes_the_same_way() -> None:
    (line,) = lines("logging.getLogger('django').warning('%s is slow', 'it', extra={'status': 500})")

    assert line["event"] == "it is slow"
    assert line["role"] == "worker"
    assert line["level"] == "warning"
    assert line["status"] == 500


def test_what_is_bound_to_the_context_is_on_every_line() -> None:
    first, second = lines(
        "structlog.contextvars.bind_contextvars(delivery_id='d1')\n"
        "structlog.get_logger().info('a')\nlogging.getLogger('x').info('b')"
    )

    assert first["delivery_id"] == second["delivery_id"] == "d1"


@pytest.mark.parametrize("logger", ["structlog.get_logger()", "logging.getLogger('django')"])
def test_a_traceback_is_part_of_the_line(logger: str) -> None:
    (line,) = lines(f"try:\n    1 / 0\nexcept ZeroDivisionError:\n    {logger}.exception('worker.bug')")

    assert line["event"] == "worker.bug"
    assert line["level"] == "error"
    assert line["exception"][0]["exc_type"] == "ZeroDivisionError"


def test_debug_lines_and_pikas_own_reports_are_left_out() -> None:
    assert lines("structlog.get_logger().debug('x')\nlogging.getLogger('pika.connection').error('lost')") == []


def test_a_value_that_is_no_json_is_written_as_text() -> None:
    (line,) = lines(
        "import pathlib, uuid\nstructlog.get_logger().info('x', path=pathlib.Path('/a'), id=uuid.UUID(int=1))"
    )

    assert line["path"] == "/a"
    assert line["id"] == "00000000-0000-0000-0000-000000000001"


def test_a_logger_made_before_the_logs_were_set_up_uses_them() -> None:
    program = (
        "import structlog\nlog = structlog.get_logger()\nfrom messaging.logs import configure\nconfigure('x')\n"
        "log.info('a')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)

    assert json.loads(done.stdout)["event"] == "a"


def test_a_level_below_the_one_asked_for_is_left_out() -> None:
    assert lines("configure('x', level='WARNING')\nstructlog.get_logger('y').info('a')") == []
