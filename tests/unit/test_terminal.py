"""Titles, file names and answers that would steer the terminal of whoever reads about them."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest
import structlog

from messaging import logs
from messaging.terminal import printable, say

HOSTILE = "a\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08b\u202eexe.txt\u2066\u2028\x7f"
STEERS = tuple("\x1b\x07\x9b\r\x08\u202e\u2066\u2028\x7f")


def test_what_steers_a_terminal_is_shown_instead() -> None:
    shown = printable(HOSTILE)

    assert shown.startswith(r"a\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08b\u202eexe.txt")
    assert not any(one in shown for one in STEERS)
    assert printable("Überschrift № 1 💾 = 0.8") == "Überschrift № 1 💾 = 0.8"
    assert printable("12\u202f345\xa0km") == "12\u202f345\xa0km"
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_lines_stay_lines_when_they_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    say("one\ntwo\x1b[31m")

    assert capsys.readouterr().out == "one\ntwo\\x1b[31m\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "file"])
def test_no_log_line_steers_a_terminal_or_begins_another_line(terminal: bool) -> None:
    before: dict[str, Any] = structlog.get_config()
    stream = Terminal() if terminal else io.StringIO()
    logs.configure("worker", stream=stream)
    try:
        log = structlog.stdlib.get_logger("test")
        log.warning("message.invalid", error=HOSTILE, names=[HOSTILE], about={"x": HOSTILE}, **{"key\x1b": 1})
        try:
            int(HOSTILE)
        except ValueError:
            log.exception("a.bug", error=HOSTILE)
        record = logging.getLogger("django")
        record.warning("Not Found: %s", "/x\x1b[2J\n2026-01-01 forged line")
    finally:
        structlog.configure(**before)
    text = stream.getvalue()
    for colour in ("\x1b[0m", "\x1b[1m", "\x1b[2m", *(f"\x1b[{number}m" for number in range(30, 47))):
        text = text.replace(colour, "")  # the renderer's own

    assert "owned" in text
    assert not any(one in text for one in STEERS)
    assert not any(line.startswith("2026-01-01") for line in text.splitlines())
