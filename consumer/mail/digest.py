"""What a digest says: how a parameter study came out, in few words and one table."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from consumer.mail import attachment
from consumer.mail.matrix import Matrix, Row, matrix, replication
from consumer.mail.words import exit_code
from ledger.api import DigestNotice, Kind, RunOutcome, until_when
from messaging.amounts import file_size
from messaging.digits import MINUS, SPACE, amount, count, prefixed
from messaging.visible import shortened

MOST_ROWS = 40  # with four statistics, 80 kB: Gmail clips what is longer than 102 kB
MOST_NAMED = 5  # runs of one row, or of one reason
MOST_LINKED = 100  # runs that each have a link
MOST_GROUPS = 10  # reasons, and things to know
MOST_COLUMNS = 3  # of parameters, in the text
LONGEST_VALUE = 40
MOST_DECIMALS = 5
LARGEST = 1e6  # that is written without powers of ten or groups
LONGEST_NAME = 40
NOBODY: dict[str, Any] = {"runs": [], "more": 0}
_DIGITS = re.compile(r"\d+")


def digest(notice: DigestNotice, site: str) -> dict[str, Any]:
    """The values of the templates ``digest.*``."""
    told = notice.outcomes
    delivered = [run for run in told if run.kind != Kind.FAILED]
    lost = [run for run in told if run.kind == Kind.FAILED]
    failed = [run for run in delivered if run.event.outcome != "succeeded"]
    table = _table(matrix([*notice.before, *told]), site)
    kicker = outcome(notice)
    noted = sum(bool(run.notes) for run in delivered)
    known = [f"see the {'note' if noted == 1 else 'notes'} about {count(noted, 'run')}"] if noted else []
    return _common(notice, site) | {
        "subject": f"{notice.campaign}: {kicker}",
        "kicker": "; ".join([kicker, *known]),
        "glance": "; ".join([kicker, *known]),
        "tone": "bad" if not delivered else "warn" if lost or failed or noted else "good",
        "before": len(notice.before),
        "table": table,
        "lines": _lines(table),
        "listed": [_link(run, run.event.simulation_id, site) for run in delivered] if _few(told) else [],
        "lost": _grouped(((run.reason, run) for run in lost), site),
        "failed": _grouped(((f"{run.event.outcome}{exit_code(run.event)}", run) for run in failed), site),
        "notes": _grouped(((note, run) for run in delivered for note in dict.fromkeys(run.notes)), site),
        "incomplete": sum(bool(run.warnings) for run in delivered),
    }


def reminder(notice: DigestNotice, site: str) -> dict[str, Any]:
    """The values of the templates ``reminders.*``."""
    values = _common(notice, site)
    runs = count(len(notice.outcomes), "run")
    return values | {
        "subject": f"Available {values['first']}: {runs} of {notice.campaign}",
        "kicker": "About to be removed",
        "glance": f"About to be removed. The results of {runs} are available {values['first']}",
        "tone": "warn",
    }


def outcome(notice: DigestNotice) -> str:
    """The first line: ``198 of 200 runs delivered, 3 of them failed, 2 not delivered``."""
    lost = sum(run.kind == Kind.FAILED for run in notice.outcomes)
    failed = sum(run.kind != Kind.FAILED and run.event.outcome != "succeeded" for run in notice.outcomes)
    delivered, all_of_them = len(notice.outcomes) - lost, notice.runs or 0
    told = len(notice.outcomes) + len(notice.before)
    if notice.before:
        words = [f"{count(delivered, 'further run')} delivered{_of_them(failed, delivered)}"] if delivered else []
        words += [f"{lost if delivered else count(lost, 'further run')} not delivered"] if lost else []
        return ", ".join(words) + (f" ({told} of {all_of_them} so far)" if told <= all_of_them else "")
    of = f" of {all_of_them}" if all_of_them > delivered else ""
    words = [f"{delivered}{of} {'run' if (all_of_them or delivered) == 1 else 'runs'} delivered"]
    words[0] += _of_them(failed, delivered)
    words += [f"{lost} not delivered"] if lost else []
    words += [f"{all_of_them - told} still open"] if all_of_them > told else []
    return ", ".join(words)


def _of_them(failed: int, delivered: int) -> str:
    """How many of the delivered runs are of simulations that did not succeed."""
    if not failed:
        return ""
    if failed == delivered:
        return ", but it failed" if delivered == 1 else ", but all of them failed"
    return f", {failed} of them failed"


def _common(notice: DigestNotice, site: str) -> dict[str, Any]:
    kept = [run for run in notice.outcomes if run.kind != Kind.FAILED]
    untils = [until_when(run.keep_until, run.link_expires) for run in sorted(kept, key=_ends)]
    return {
        "about": f"campaign {notice.campaign}",
        "campaign": notice.campaign,
        "runs": len(notice.outcomes),
        "kept": len(kept),
        "size": file_size(sum(run.archive_size for run in kept)),
        "first": untils[0] if untils else "",
        "last": untils[-1] if untils and untils[-1] != untils[0] else "",
        "pages": bool(site),
        "file": attachment.NAME,
        "log_tail": "",
        "page": "",
    }


def _ends(run: RunOutcome) -> tuple[bool, str]:
    """For sorting by when an archive, or the link to it, is gone; what is kept for ever comes last."""
    ends = [one for one in (run.keep_until, run.link_expires and run.link_expires.date()) if one]
    return not ends, min(ends).isoformat() if ends else ""


def _table(table: Matrix, site: str) -> dict[str, Any]:
    together = len(table.parameters) > MOST_COLUMNS
    few = _few([run for row in table.rows for run in (*row.good, *row.lost, *row.failed)])
    columns = [_Column(table, place) for place in range(len(table.statistics))]
    return {
        "common": [f"{name} = {value}" for name, value in table.common],
        "parameters": ["combination"] if together else [shortened(name, LONGEST_NAME) for name in table.parameters],
        "statistics": [column.head for column in columns],
        "rows": [
            {
                "combination": _joined(table, row),
                "values": [_joined(table, row)] if together else [shortened(one, LONGEST_VALUE) for one in row.values],
                "runs": _number_of(row),
                "good": _named(row.good, replication, site, MOST_LINKED) if few else NOBODY,
                "lost": _named([*row.lost, *row.failed], replication, site),
                "cells": [column.cell(row) for column in columns],
            }
            for row in table.rows[:MOST_ROWS]
        ],
        "left_out": max(0, len(table.rows) - MOST_ROWS),
    }


def _lines(table: dict[str, Any]) -> str:
    """The table as text: statistics, whose names are long, get a letter each."""
    letters = "ABCDEFGH"
    heads = [*table["parameters"], "runs", *letters[: len(table["statistics"])]]
    rows = [
        [*row["values"], row["runs"], *(" ".join(filter(None, cell.values())) for cell in row["cells"])]
        for row in table["rows"]
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    names = [f"{letter}: {one['label']}" for letter, one in zip(letters, table["statistics"], strict=False)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in [heads, *rows]]
    for place, row in enumerate(table["rows"], start=1):
        if row["lost"]["runs"]:
            lines[place] += "  (some failed, see below)"
    return "\n".join([*names, *([""] if names else []), *lines])


class _Column:
    """A statistic: all of its means in one unit."""

    def __init__(self, table: Matrix, place: int) -> None:
        self._place = place
        label, unit = table.statistics[place]
        means = [abs(one.mean) for row in table.rows if (one := row.estimates[place])]
        self._factor, shown = prefixed(max(means, default=0.0), unit)
        name, _, where = label.partition(", ")
        whole = f"{label} [{shown}]" if shown else label
        self.head = {"name": shortened(name, LONGEST_NAME), "where": where, "unit": shown, "label": whole}

    def cell(self, row: Row) -> dict[str, str]:
        estimate = row.estimates[self._place]
        if estimate is None:
            return {"mean": "-", "interval": "", "number": ""}
        of_some = estimate.number < len(row.good)
        mean, interval = _shown(estimate.mean / self._factor, (estimate.half_width or 0.0) / self._factor)
        return {
            "mean": mean,
            "interval": f"±{SPACE}{interval}" if estimate.half_width is not None else "",
            "number": count(estimate.number, "run") if of_some else "",
        }


def _shown(mean: float, half: float) -> tuple[str, str]:
    """A mean and half its interval: two digits of that, and as many decimals of the mean, since more say nothing."""
    decimals = 1 - math.floor(math.log10(half)) if half else -1
    if not 0 <= decimals <= MOST_DECIMALS or abs(mean) >= LARGEST:
        return amount(mean), amount(half, 2)
    return f"{mean:.{decimals}f}".replace("-", MINUS), f"{half:.{decimals}f}"


def _joined(table: Matrix, row: Row) -> str:
    told = [f"{name} = {value}" for name, value in zip(table.parameters, row.values, strict=True) if value]
    return shortened(", ".join(told), 3 * LONGEST_VALUE)


def _number_of(row: Row) -> str:
    together = len(row.good) + len(row.lost) + len(row.failed)
    return f"{len(row.good)} of {together}" if len(row.good) < together else str(together)


def _few(runs: Sequence[RunOutcome]) -> bool:
    """Whether there is room for a link to each."""
    return len(runs) <= MOST_LINKED


def _named(
    runs: Sequence[RunOutcome], name: Callable[[RunOutcome], str], site: str, most: int = MOST_NAMED
) -> dict[str, Any]:
    """The first runs by their names, each with where it leads."""
    return {"runs": [_link(run, name(run), site) for run in runs[:most]], "more": max(0, len(runs) - most)}


def _link(run: RunOutcome, name: str, site: str) -> dict[str, str]:
    """A run's page, where the site's address is known, or else its archive."""
    page = f"{site}{run.page}" if site and run.page else run.link
    return {"name": shortened(name, LONGEST_NAME), "page": page}


def _grouped(told: Iterable[tuple[str, RunOutcome]], site: str) -> list[dict[str, Any]]:
    """What several runs have to say alike, told once; texts that differ by numbers alone are alike."""
    groups: dict[str, list[tuple[str, RunOutcome]]] = {}
    for text, run in told:
        groups.setdefault(_DIGITS.sub("#", text), []).append((text, run))
    largest = sorted(groups.values(), key=len, reverse=True)
    lines: list[dict[str, Any]] = [
        {
            "runs": count(len(group), "run"),
            "text": group[0][0],
            "alike": len({text for text, _ in group}) > 1,
            "named": _named([run for _, run in group], lambda run: run.event.simulation_id, site),
        }
        for group in largest[:MOST_GROUPS]
    ]
    rest = sum(map(len, largest[MOST_GROUPS:]))
    if rest:
        lines.append({"runs": f"and {count(rest, 'run')} more", "text": "", "alike": False, "named": NOBODY})
    return lines
