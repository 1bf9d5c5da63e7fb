"""Writes a summary into its folder, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from consumer.report import page, rows, svg
from consumer.report.documents import run_json, summary_json
from consumer.report.key import pick
from consumer.report.plain import encodable
from consumer.report.plots import Plot, plots
from consumer.report.runs import labels
from consumer.statistics.model import ScalarRow, StatisticRow, Summary, VectorRow


def write(
    summary: Summary,
    folder: Path,
    *,
    scalars: Iterable[ScalarRow] | None = None,
    statistics: Iterable[StatisticRow] | None = None,
    vectors: Iterable[VectorRow] | None = None,
    drawn: Sequence[Plot] | None = None,
) -> list[str]:
    """Write everything that ``summary/`` in the archive holds; its bytes depend on the arguments alone.

    Args:
        summary: what was computed.
        folder: a new or empty one; made if it is missing.
        scalars: all of them, where there are more than the summary holds; each is written as it comes.
        statistics: likewise.
        vectors: likewise; those with a trace get a file of their own.
        drawn: its plots, where they are made already.

    Returns:
        Names of the files within the folder, with ``/``, sorted.

    Raises:
        OSError: it could not be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = labels(summary.runs)
    rows.write_scalars(folder / "scalars.csv", summary.scalars if scalars is None else scalars, names)
    rows.write_statistics(folder / "statistics.csv", summary.statistics if statistics is None else statistics, names)
    courses = rows.write_vectors(
        folder / "vectors.csv", folder / "vectors", summary.vectors if vectors is None else vectors, names
    )
    rows.write_aggregates(folder / "aggregates.csv", summary.aggregates, names)
    rows.write_replications(folder / "replications.csv", summary.replications)
    key = pick(summary)
    drawn = plots(summary) if drawn is None else drawn
    for name, pieces in (
        ("summary.json", summary_json(summary, key, drawn, names)),
        ("run.json", run_json(summary.runs, names)),
    ):
        with (folder / name).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(pieces)
    texts = {
        "report.html": page.html(summary, key, drawn),
        "INFO.txt": page.info(summary, key, drawn, len(courses)),
    }
    if drawn:
        (folder / "plots").mkdir(exist_ok=True)
    for plot in drawn:
        texts[f"plots/{plot.file}"] = svg.alone(plot.chart, plot.title, plot.subtitle, page.plot_styles())
    for name, text in texts.items():
        (folder / name).write_text(encodable(text), "utf-8", newline="\n")
    tables = [f"{name}.csv" for name in ("scalars", "statistics", "vectors", "aggregates", "replications")]
    return sorted([*texts, "summary.json", "run.json", *tables, *(f"vectors/{name}" for name in courses)])
