"""``summary.json`` and ``run.json``, as the schemas beside this module say.

NaN is null; infinity, for which JSON has no number, is the text ``inf`` or ``-inf``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from consumer.formats.contract import Run
from consumer.report.key import Key
from consumer.report.plain import encodable
from consumer.report.plots import Plot
from consumer.statistics.model import Summary

VERSION = 1


def summary_json(summary: Summary, key: Key, plots: Sequence[Plot], runs: Sequence[str]) -> Iterator[str]:
    """The numbers of a summary; where runs come from stands in ``run.json``, and what to draw in ``vectors/``."""
    document = {
        "version": VERSION,
        "key_statistics": _plain(key.statistics),
        "key_warnings": _plain(key.warnings),
        "plots": [
            {"file": f"plots/{plot.file}", "title": _plain(plot.title), "where": _plain(plot.subtitle)}
            for plot in plots
        ],
        "run_labels": _plain(runs),
    }
    document |= {field.name: getattr(summary, field.name) for field in fields(summary) if field.name != "runs"}
    return _written(document)


def run_json(runs: Sequence[Run], names: Sequence[str]) -> Iterator[str]:
    """Where each run comes from: configuration, iteration variables, seed set, warm-up and end."""
    described = ({"label": _plain(name), **_plain(run)} for name, run in zip(names, runs, strict=True))
    return _written({"version": VERSION, "runs": described})


def _plain(value: object) -> Any:
    """As JSON has it; traces are left out, as they stand in ``vectors/``."""
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str):
        return encodable(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value) if field.name != "trace"}
    if isinstance(value, Mapping):
        return {encodable(str(name)): _plain(part) for name, part in value.items()}
    return _number(float(value))  # type: ignore[arg-type]  # a number of numpy's


def _number(value: float) -> float | str | None:
    if math.isfinite(value):
        return float(value)
    return None if math.isnan(value) else ("inf" if value > 0 else "-inf")


def _written(document: Mapping[str, Any]) -> Iterator[str]:
    """One row of a list on each line, so that the file can be read, compared and searched by line.

    It comes in pieces: of very many runs or files the whole would be as large as everything else that is known.
    """
    before = "{\n"
    for name, value in document.items():
        yield f"{before} {_compact(name)}: "
        before = ",\n"
        if isinstance(value, Iterable) and not isinstance(value, str | Mapping):
            yield from _rows(value)
        else:
            yield _compact(_plain(value))
    yield "\n}\n"


def _rows(rows: Iterable[object]) -> Iterator[str]:
    before = "[\n  "
    for row in rows:
        yield before + _compact(_plain(row))
        before = ",\n  "
    yield "[]" if before.startswith("[") else "\n ]"


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
