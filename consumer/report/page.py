"""``report.html``: one page without script and without anything from elsewhere, and ``INFO.txt``.

Everything that comes from result files is hostile: it is escaped by the template, made fit to be shown before that, and
a content security policy allows nothing but the page's own style sheet, by its digest.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from consumer.formats.contract import Run
from consumer.report import svg, tables
from consumer.report.key import Key
from consumer.report.plain import shown
from consumer.report.plots import Plot
from consumer.report.runs import LONGEST, config, end, identified, labels, settings, title
from consumer.statistics.model import FileRead, Summary, Warned
from messaging import digits
from messaging.amounts import file_size
from messaging.visible import shortened

MOST_FILES = 300
MOST_WARNINGS = 200
MOST_RUNS = 25  # described in full; all are in run.json
MOST_ENTRIES = 300  # of one run's configuration

# Attributes that say most of where a run comes from, in this order; the others follow.
_FIRST_ATTRIBUTES = (
    "configname",
    "network",
    "experiment",
    "measurement",
    "replication",
    "repetition",
    "seedset",
    "inifile",
    "datetime",
)
_GROUPS = {
    "vectors": "Over time",
    "each": "Each of like modules",
    "modules": "Over like modules",
    "histograms": "Distributions",
    "observations": "Distributions of observations",
    "shares": "Time in each state",
    "replications": "Over configurations",
}


def html(summary: Summary, key: Key, plots: Sequence[Plot]) -> str:
    """The page."""
    css = _styles()
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return (
        _environment(autoescape=True)
        .get_template("report.html.j2")
        .render(
            css=css,
            policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
            title=title(summary.runs),
            about=_about(summary.runs),
            state=_state(summary),
            key=key,
            groups=_groups(plots),
            tables=_tables(summary),
            shaded=any(run.warmup for run in summary.runs),
            runs=_runs(summary.runs),
            runs_table=_runs_table(summary.runs) if len(summary.runs) > 1 else None,
            runs_left=max(0, len(summary.runs) - MOST_RUNS),
            files=[_file(file) for file in summary.files[:MOST_FILES]],
            files_left=max(0, len(summary.files) - MOST_FILES),
            files_summary=_files_summary(summary.files),
            warnings=[_warning(warned) for warned in summary.warnings[:MOST_WARNINGS]],
            warnings_left=max(0, max(summary.warnings_found, len(summary.warnings)) - MOST_WARNINGS),
        )
    )


def info(summary: Summary, key: Key, plots: Sequence[Plot], courses: int) -> str:
    """What lies in the folder, in plain words; ``courses`` is the number of files in ``vectors/``."""
    template = _environment(autoescape=False).get_template("INFO.txt.j2")
    return template.render(title=title(summary.runs), state=_state(summary), key=key, plots=len(plots), courses=courses)


def plot_styles() -> Markup:
    """``plot.css``, for drawings that stand alone."""
    return _source("plot.css")


def _styles() -> Markup:
    return _source("plot.css") + _source("report.css")


def _source(name: str) -> Markup:
    """A file of ours; it is no template, and nothing from results ever gets into it."""
    environment = _environment(autoescape=True)
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])  # noqa: S704  our own style sheet


def prepare() -> None:
    """Compile the templates, so that `html` and `info` need not."""
    _environment(autoescape=True).get_template("report.html.j2")
    _environment(autoescape=False).get_template("INFO.txt.j2")


@cache  # compiling the templates costs more than filling them
def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("consumer.report"),
        autoescape=autoescape,  # noqa: S701  off for plain text alone
        undefined=StrictUndefined,
        finalize=_fit,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["amount"] = digits.amount
    return environment


def _fit(value: object) -> object:
    """What every expression of a template goes through before it is escaped."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return shown(value)
    return value


def _about(runs: Sequence[Run]) -> list[str]:
    """What all runs have in common, for the line under the title."""
    simulators = dict.fromkeys(run.simulator for run in runs if run.simulator)
    networks = dict.fromkeys(run.attributes.get("network", "") for run in runs)
    heading = title(runs)
    parts = [*(name for name in simulators if name not in heading), *(network for network in networks if network)][:4]
    if len(runs) == 1:
        run = runs[0]
        repetition = run.attributes.get("repetition", "")
        parts += [text for text in (settings(run.itervars), f"repetition {repetition}" if repetition else "") if text]
        parts += [text for text in (run.attributes.get("datetime", ""),) if text]
    return [shortened(part, LONGEST) for part in parts]


def _state(summary: Summary) -> dict[str, str]:
    """How the results are, as far as they tell: whole, cut off, or without numbers."""
    found = [
        digits.count(max(number, shown_rows), one)
        for number, shown_rows, one in (
            (summary.scalars_found, len(summary.scalars), "scalar"),
            (summary.statistics_found, len(summary.statistics), "statistic"),
            (summary.vectors_found, len(summary.vectors), "vector"),
        )
        if max(number, shown_rows)
    ]
    files, number = digits.count(len(summary.files), "file"), identified(summary.runs)
    where = f"{digits.count(number, 'run')} in {files}" if number else files
    cut = sum(file.incomplete for file in summary.files)
    if not found:
        return {"kind": "bad", "sign": "!", "head": "Nothing to show", "text": f"{where}: no numbers were found."}
    text = f"{where}: {', '.join(found)}."
    if cut:
        ends = f"{digits.count(cut, 'file ends', 'files end')} in the middle"
        return {"kind": "bad", "sign": "!", "head": "The results are cut off", "text": f"{ends}. {text}"}
    if summary.warnings or summary.warnings_found:
        number = max(summary.warnings_found, len(summary.warnings))
        head = f"Read, with {digits.count(number, 'warning')}"
        return {"kind": "warn", "sign": "!", "head": head, "text": text}
    return {"kind": "good", "sign": "✓", "head": "All results were read", "text": text}


def _groups(plots: Sequence[Plot]) -> list[dict[str, Any]]:
    groups = []
    numbered = list(enumerate(plots, 1))
    for name, heading in _GROUPS.items():
        of_group = [
            {
                "plot": plot,
                "svg": svg.inline(plot.chart, f"plot-{number}", f"{plot.title}, {plot.subtitle}".strip(", ")),
            }
            for number, plot in numbered
            if plot.group == name
        ]
        if of_group:
            groups.append({"name": name, "heading": heading, "plots": of_group})
    return groups


def _tables(summary: Summary) -> list[dict[str, Any]]:
    names = labels(summary.runs)

    def of_run(run: int) -> str:
        return names[run] if len(names) > 1 and 0 <= run < len(names) else ""

    made = [
        ("modules", "Over like modules", tables.aggregates(summary, of_run)),
        ("scalars", "Scalars", tables.scalars(summary, of_run)),
        ("statistics", "Statistics", tables.statistics(summary, of_run)),
        ("vectors", "Vectors", tables.vectors(summary, of_run)),
        ("states", "States", tables.enumerations(summary, of_run)),
        ("replications", "Replications", tables.replications(summary)),
    ]
    if len(summary.runs) > 1:
        made.insert(0, made.pop())  # of several runs, what they have in common comes first
    return [{"id": name, "heading": heading, "table": table} for name, heading, table in made if table.rows]


def _runs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    names = labels(runs)
    return [_run(run, name) for run, name in zip(runs[:MOST_RUNS], names, strict=False)]


def _run(run: Run, name: str) -> dict[str, Any]:
    rest = [key for key in run.attributes if key not in _FIRST_ATTRIBUTES]
    attributes = [key for key in (*_FIRST_ATTRIBUTES, *rest) if run.attributes.get(key)]
    facts = [("Run", run.id), ("Simulator", run.simulator)] if run.id else [("Simulator", run.simulator)]
    facts += [(f"Iteration variable {key}", value) for key, value in run.itervars.items()]
    facts.append(("End of simulation", f"{_seconds(run.end)} ({end(run)})" if run.end is not None else end(run)))
    warmup = "not told by the results" if run.warmup is None else f"{_seconds(run.warmup)}, not recorded"
    facts.append(("Warm-up", "none" if run.warmup == 0 else warmup))
    facts += _work(run)
    facts += [(key, run.attributes[key]) for key in attributes]
    return {
        "name": name,
        "facts": [(key, value) for key, value in facts if value],
        "config": list(run.config[:MOST_ENTRIES]),
        "config_left": max(0, len(run.config) - MOST_ENTRIES),
    }


def _work(run: Run) -> list[tuple[str, str]]:
    """What it took to simulate."""
    found = [] if run.events is None else [("Events", digits.amount(run.events))]
    if run.elapsed is None:
        return found
    rate = f", {digits.amount(run.events / run.elapsed)} events/s" if run.events and run.elapsed > 0 else ""
    return [*found, ("Real time", f"{_seconds(run.elapsed)}{rate}")]


def _runs_table(runs: Sequence[Run]) -> dict[str, Any]:
    """All runs, one a row, with what tells them apart."""
    heads = ("Run", "Configuration", "Iteration variables", "Seed set", "Warm-up", "End", "Id")
    rows = [
        (
            name,
            config(run),
            settings(run.itervars),
            run.attributes.get("seedset", ""),
            "" if run.warmup is None else _seconds(run.warmup),
            "" if run.end is None else f"{'at most ' if run.end_is_bound else ''}{_seconds(run.end)}",
            run.id,
        )
        for run, name in zip(runs, labels(runs), strict=True)
    ]
    kept = [column for column in range(len(heads)) if any(row[column] for row in rows)]
    number = identified(runs)
    alone = len(runs) - number
    kinds = [digits.count(number, "run")] if number else []
    kinds += [digits.count(alone, "file that does", "files that do") + " not name a run"] if alone else []
    return {
        "caption": ", ".join(kinds),
        "heads": [heads[column] for column in kept],
        "rows": [[row[column] for column in kept] for row in rows[: tables.MOST_ROWS]],
        "left": max(0, len(rows) - tables.MOST_ROWS),
    }


def _seconds(value: float) -> str:
    return f"{digits.amount(value, 12)} s"


def _file(file: FileRead) -> dict[str, str]:
    unread = f"not read: {file.reason}" if file.reason else "not read"
    state = "ends in the middle" if file.incomplete else ("read" if file.format else unread)
    kind = "bad" if file.incomplete else ("" if file.format else "quiet")
    return {"name": file.name, "size": file_size(file.size), "format": file.format, "state": state, "kind": kind}


def _files_summary(files: Sequence[FileRead]) -> str:
    read = sum(bool(file.format) for file in files)
    total = file_size(sum(file.size for file in files))
    return f"{digits.count(len(files), 'file')}, {total}; {digits.amount(read)} of them read as results."


def _warning(warned: Warned) -> dict[str, str]:
    return {"file": warned.file, "line": "" if warned.line is None else digits.amount(warned.line), "text": warned.text}
