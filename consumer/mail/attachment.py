"""The file that a digest carries: a line for each run that it tells of."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from consumer.mail import matrix
from consumer.report.plain import cell_text
from ledger.api import Kind, RunOutcome, until_when

NAME = "runs.csv"
_BEFORE = ("simulation", "title")
_AFTER = ("delivered", "outcome", "exit code", "reason")
_LAST = ("to know", "left out", "archive", "bytes", "sha256", "available", "link", "page", "delivery")


def runs_csv(runs: Sequence[RunOutcome], site: str) -> bytes:
    """RFC 4180 in UTF-8: who the run is, its parameters, how it ended, its key statistics, where it is.

    Args:
        site: address of the site; empty: no page is named.
    """
    parameters = list(dict.fromkeys(name for run in runs for name in _parameters(run)))
    statistics = list(dict.fromkeys(one for run in runs for one in matrix.numbers(run)))
    fixed = {*_BEFORE, *_AFTER, *_LAST}
    named = [f"parameter {name}" if name in fixed else name for name in parameters]
    labels = [f"{label} [{unit}]" if unit else label for label, unit in statistics]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(map(_cell, (*_BEFORE, *named, *_AFTER, *labels, *_LAST)))
    for run in runs:
        told, numbers, event = _parameters(run), matrix.numbers(run), run.event
        lost = run.kind == Kind.FAILED
        row: list[object] = [event.simulation_id, event.title]
        row += [told.get(name) for name in parameters]
        row += ["no" if lost else "yes", event.outcome.value, event.exit_code, run.reason]
        row += [numbers.get(one) for one in statistics]
        row += [" ".join(run.notes), " ".join(run.warnings)]
        row += [None] * 5 if lost else _archive(run)
        row += [f"{site}{run.page}" if site and run.page else None, str(run.delivery_id)]
        writer.writerow(map(_cell, row))
    return out.getvalue().encode()


def _archive(run: RunOutcome) -> list[object]:
    available = until_when(run.keep_until, run.link_expires)
    return [run.archive_name, run.archive_size, run.archive_sha256, available, run.link]


def _parameters(run: RunOutcome) -> dict[str, object]:
    return dict(run.event.campaign.parameters) if run.event.campaign else {}


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value).removesuffix(".0")
        case int():
            return str(value)
    return cell_text(str(value))
