"""What a summary as a whole is called."""

from __future__ import annotations

from consumer.formats.contract import Run
from consumer.report.runs import title


def test_files_that_name_no_run_are_not_counted_as_runs() -> None:
    named = [Run(id=f"run-{name}", simulator="OMNeT++", attributes={"configname": name}) for name in ("Fast", "Slow")]

    assert title([*named, Run(id="", simulator="ns-3")]) == "2 runs of 2 configurations"
