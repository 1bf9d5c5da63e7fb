"""How a mail puts things: times and what is inside, in plain words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, timedelta

from markupsafe import Markup, escape

from ledger.api import Contents, Stage
from messaging.amounts import file_size
from messaging.digits import count
from messaging.messages import Completed
from messaging.visible import shortened

STAGES: Mapping[str, str] = {
    Stage.COLLECTING: "when the results were collected",
    Stage.PACKAGING: "when the archive was packed",
    Stage.STORING: "when the archive was to be stored",
    Stage.LINKING: "when the link was to be made",
}
LONGEST_NAME = 60
LONGEST_WORD = 20  # that no line ends within
_JOINTS = re.compile(r"(?<=[._:\]/])(?=\w)|(?<=[a-z])(?=[A-Z])")


def ran(event: Completed) -> str:
    """How long the simulation ran, when it ended, and where."""
    parts = []
    if event.started and event.finished and event.finished >= event.started:
        parts.append(f"ran {duration(event.finished - event.started)}")
    if event.finished:
        parts.append(f"ended {event.finished.astimezone(UTC):%d %B %Y, %H:%M} UTC")
    if event.host:
        parts.append(f"on {event.host}" if parts else f"ran on {event.host}")
    text = ", ".join(parts)
    return text[:1].upper() + text[1:]


def duration(span: timedelta) -> str:
    """A duration by its two largest units."""
    minutes, seconds = divmod(round(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((place for place, (number, _) in enumerate(units) if number), len(units) - 1)
    return " ".join(f"{number} {unit}" for number, unit in units[first : first + 2] if number) or "0 s"


def exit_code(event: Completed) -> str:
    """In brackets, if there is one."""
    return f" (exit code {event.exit_code})" if event.exit_code is not None else ""


def inside(contents: Contents | None, *, numbers: bool) -> list[str]:
    """What is in the archive, a line each; of its report only if there are ``numbers``."""
    if contents is None:
        return []
    lines = [f"{count(contents.files, 'file')} of the results, {file_size(contents.bytes)}"]
    if contents.files <= len(contents.names):
        lines[0] += f": {', '.join(shortened(name, LONGEST_NAME) for name in contents.names)}"
    if contents.summary and numbers:
        lines.append(f"{contents.summary}/report.html, with plots and tables of all numbers")
    return lines


def breakable(text: str, longest: int = LONGEST_WORD) -> Markup:
    """For HTML: a line may end within a word longer than that, where the parts of a name meet."""
    return Markup(" ").join(
        escape(word) if len(word) <= longest else Markup("<wbr>").join(_JOINTS.split(word)) for word in text.split(" ")
    )


def blocks(text: str) -> list[dict[str, str | bool]]:
    """A text's paragraphs; one that is indented is shown as it stands, such as a command."""
    made: list[dict[str, str | bool]] = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line.strip()]
        if lines:
            verbatim = all(line.startswith("  ") for line in lines)
            made.append({"text": "\n".join(line.strip() if verbatim else line for line in lines), "verbatim": verbatim})
    return made
