"""The files of a summary, as the programs of a researcher read them."""

from __future__ import annotations

import csv
import json
import math
import tracemalloc
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import consumer.report
from consumer.formats.contract import Run
from consumer.report.names import Names
from consumer.report.rows import write_scalars
from consumer.report.write import write
from consumer.statistics.model import ScalarRow, StatisticRow, Summary, Trace, VectorRow
from tests.support import summaries

FOLDER = Path(consumer.report.__file__).parent
HOSTILE = (
    "<script>",
    '"quoted", with comma',
    "two\nlines",
    "=1+1",
    "@SUM(A1)",
    "-2+3",
    "half \udcff",
    "nul\x00",
    "שלום",
    "",
)


def schema(name: str) -> dict[str, Any]:
    read = json.loads((FOLDER / f"{name}.schema.json").read_text("utf-8"))
    assert isinstance(read, dict)
    return read


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def course(path: Path) -> tuple[dict[str, str], list[list[str]]]:
    """The facts in the lines with #, and the rows under the heads."""
    lines = path.read_text("utf-8").splitlines()
    facts = [(line[2:].partition(": ")[0], line.partition(": ")[2]) for line in lines if line.startswith("# ")]
    return dict(facts), list(csv.reader(line for line in lines if not line.startswith("# ")))


MADE = (summaries.queueing, summaries.flows, summaries.traffic, summaries.campaign, lambda: summaries.EMPTY)


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("number", [None, math.nan, math.inf, -1e308])
def test_the_json_files_are_as_their_schemas_say(made: Any, number: float | None, tmp_path: Path) -> None:
    texts = cycle(HOSTILE)
    summary = summaries.altered(made(), text=lambda text: next(texts) + text)
    if number is not None:
        summary = summaries.altered(summary, number=lambda _: number)
        vectors = tuple(replace(row, rank_error=0.1) for row in summary.vectors)
        summary = replace(summary, vectors=vectors)

    write(summary, tmp_path)

    for name in ("summary", "run"):
        document = json.loads((tmp_path / f"{name}.json").read_text("utf-8"), parse_constant=pytest.fail)
        jsonschema.Draft202012Validator.check_schema(schema(name))
        jsonschema.validate(document, schema(name))


def test_the_schemas_name_every_number_of_the_model() -> None:
    parts = schema("summary")["$defs"]
    for kind, name in ((ScalarRow, "scalar"), (StatisticRow, "statistic"), (VectorRow, "vector")):
        assert {field.name for field in fields(kind)} - {"trace"} == set(parts[name]["properties"])
    assert {field.name for field in fields(Summary)} - {"runs"} <= set(schema("summary")["properties"])
    of_run = schema("run")["properties"]["runs"]["items"]["properties"]
    assert {field.name for field in fields(Run)} == set(of_run) - {"label"}


def test_nan_is_null_in_json_and_infinity_is_a_text(tmp_path: Path) -> None:
    values = (math.nan, math.inf, -math.inf, 0.0, 0.1)
    rows = tuple(ScalarRow(0, "net", "x", value) for value in values)
    write(replace(summaries.EMPTY, scalars=rows), tmp_path)

    document = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    assert [row["value"] for row in document["scalars"]] == [None, "inf", "-inf", 0.0, 0.1]


def test_run_json_has_where_a_run_comes_from_with_repeated_keys_in_order(tmp_path: Path) -> None:
    write(summaries.queueing(), tmp_path)

    (run,) = json.loads((tmp_path / "run.json").read_text("utf-8"))["runs"]
    assert run["attributes"]["seedset"] == "0"
    assert [value for key, value in run["config"] if key == "sim-time-limit"] == ["200s", "100h"]
    assert (run["warmup"], run["end"], run["end_is_bound"]) == (20.0, 200.0, True)


def test_the_csv_files_give_back_every_number_exactly(tmp_path: Path) -> None:
    values = [0.1, 1 / 3, 1e308, 5e-324, -0.0, 123456789.0, 2.0**60, math.inf, -math.inf]
    rows = tuple(ScalarRow(0, "net", "x", value) for value in values)
    write(replace(summaries.EMPTY, scalars=rows), tmp_path)

    assert [float(row["value"]) for row in table(tmp_path / "scalars.csv")] == values


def test_no_value_is_an_empty_cell_in_csv(tmp_path: Path) -> None:
    write(replace(summaries.EMPTY, scalars=(ScalarRow(0, "net", "x", math.nan),)), tmp_path)

    assert [row["value"] for row in table(tmp_path / "scalars.csv")] == [""]


@pytest.mark.parametrize("made", MADE)
def test_csv_files_keep_their_shape_whatever_the_names_are(made: Any, tmp_path: Path) -> None:
    texts = cycle(HOSTILE)
    tame = made()
    files = write(summaries.altered(tame, text=lambda text: next(texts) + text), tmp_path)

    counts = {
        "scalars.csv": len(tame.scalars),
        "statistics.csv": len(tame.statistics),
        "vectors.csv": len(tame.vectors),
        "aggregates.csv": len(tame.aggregates),
        "replications.csv": len(tame.replications),
    }
    for name, count in counts.items():
        rows = table(tmp_path / name)
        assert len(rows) == count
        assert all(None not in row and None not in row.values() for row in rows)
    for name in files:
        if name.endswith(".csv"):
            text = (tmp_path / name).read_text("utf-8")
            assert "\x00" not in text
            assert text.endswith("\n")


def test_a_text_that_a_spreadsheet_would_compute_gets_an_apostrophe_and_a_number_does_not(tmp_path: Path) -> None:
    rows = (ScalarRow(0, "=HYPERLINK(1)", "+x", -1.5),)
    write(replace(summaries.EMPTY, scalars=rows, statistics=summaries.queueing().statistics), tmp_path)

    (row,) = table(tmp_path / "scalars.csv")
    assert (row["module"], row["name"], row["value"]) == ("'=HYPERLINK(1)", "'+x", "-1.5")
    edges = table(tmp_path / "statistics.csv")[0]["bin_edges"].split(" ")
    assert [float(edge) for edge in edges[:3]] == [-math.inf, 0.0, 0.25]


def test_all_rows_go_into_the_files_though_the_summary_has_few_of_them(tmp_path: Path) -> None:
    made = summaries.queueing()
    scalars = (ScalarRow(0, f"host[{number}]", "x", float(number)) for number in range(5000))
    vectors = (replace(made.vectors[0], module=f"host[{number}]") for number in range(20))

    files = write(made, tmp_path, scalars=scalars, statistics=iter(made.statistics * 3), vectors=vectors)

    assert len(table(tmp_path / "scalars.csv")) == 5000
    assert len(table(tmp_path / "statistics.csv")) == 3 * len(made.statistics)
    assert [f"vectors/{row['file']}" for row in table(tmp_path / "vectors.csv")] == [
        f"vectors/host-{number}.qlen-vector.csv" for number in range(20)
    ]
    assert len([name for name in files if name.startswith("vectors/")]) == 20


def test_scalars_are_written_in_flat_memory(tmp_path: Path) -> None:
    def rows() -> Iterator[ScalarRow]:
        for number in range(10_000):
            yield ScalarRow(0, f"net.host[{number}].app", "delay:mean", number / 7, "s")

    tracemalloc.start()
    try:
        write_scalars(tmp_path / "scalars.csv", rows(), ("run 1",))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (tmp_path / "scalars.csv").stat().st_size > 500_000
    assert peak < 300_000


def test_a_vector_on_its_grid_says_title_unit_and_precision(tmp_path: Path) -> None:
    trace = Trace(
        10.0, 0.1, np.array([math.nan, 1.0, 2.5]), np.array([1.0, math.nan, 2.0]), np.array([1.0, math.nan, 3.0])
    )
    row = replace(summaries.queueing().vectors[0], trace=trace, unit="s", title="Queueing\ntime", module="net.a b")
    write(replace(summaries.EMPTY, vectors=(row,)), tmp_path)

    facts, lines = course(tmp_path / "vectors" / "net.a-b.qlen-vector.csv")
    assert facts["title"] == "Queueing time"
    assert facts["unit"] == "s"
    assert facts["precision"] == "0.1 s"
    assert "sample and hold" in facts["values"]
    assert lines == [
        ["simtime", "value", "min", "max"],
        ["10", "", "1", "1"],
        ["10.1", "1", "", ""],
        ["10.2", "2.5", "2", "3"],
    ]


def test_observations_without_a_time_are_numbered_and_have_bins(tmp_path: Path) -> None:
    write(summaries.traffic(), tmp_path)

    row = next(row for row in table(tmp_path / "vectors.csv") if row["name"] == "timeLoss")
    assert sum(float(count) for count in row["bin_counts"].split()) == 2400
    assert len(row["bin_edges"].split()) == len(row["bin_counts"].split()) == 41

    facts, lines = course(tmp_path / "vectors" / "trips.timeLoss.csv")
    assert facts["precision"].endswith(" observations")
    assert lines[0][0] == "number"


def test_of_several_runs_each_row_and_each_file_says_which(tmp_path: Path) -> None:
    made = summaries.campaign()
    vector = summaries.queueing().vectors[0]
    write(replace(made, vectors=(replace(vector, run=0), replace(vector, run=7))), tmp_path)

    assert [row["run"] for row in table(tmp_path / "vectors.csv")] == ["load=0.2 rep 0", "load=0.4 rep 2"]
    assert (tmp_path / "vectors" / "load-0.4-rep-2.TandemQueue.fifo-1.qlen-vector.csv").is_file()
    labels = [row["label"] for row in json.loads((tmp_path / "run.json").read_text("utf-8"))["runs"]]
    assert len(set(labels)) == len(labels) == 20


def test_runs_that_do_not_differ_are_numbered(tmp_path: Path) -> None:
    made = summaries.queueing()
    write(replace(made, runs=made.runs * 3), tmp_path)

    runs = json.loads((tmp_path / "run.json").read_text("utf-8"))["runs"]
    assert [run["label"] for run in runs] == ["rep 0 (run 1)", "rep 0 (run 2)", "rep 0 (run 3)"]


def test_info_says_in_plain_words_what_is_there(tmp_path: Path) -> None:
    files = write(summaries.queueing(), tmp_path)

    text = (tmp_path / "INFO.txt").read_text("utf-8")
    assert text.startswith("SIMULATION RESULTS: TandemQueueExperiment\n")
    for name in files:
        assert name.split("/")[0] in text or name == "INFO.txt"
    assert "Simulated time: at most 200 s" in text
    assert "this archive" not in text, "where `simcourier summarise` wrote it there is none"


NAMES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "a module with indexes": (("Net.host[3].app[0]", "rtt:vector"), "Net.host-3.app-0.rtt-vector.csv"),
    "a path": (("../../etc", "passwd"), "etc.passwd.csv"),
    "a Windows path": (("C:\\con", "x"), "C-con.x.csv"),
    "a device": (("NUL", "x"), "_NUL.x.csv"),
    "a dot file": ((".ssh", ""), "ssh.csv"),
    "an option": (("-rf", "x"), "rf.x.csv"),
    "nothing": (("", ""), "unnamed.csv"),
    "nothing that is safe": (("שלום", "道"), "unnamed.csv"),
    "blanks and controls": (("a b\n\x00c", "d "), "a-b-c.d.csv"),
}


@pytest.mark.parametrize(("parts", "name"), NAMES.values(), ids=NAMES)
def test_a_file_name_is_safe_on_every_system(parts: tuple[str, ...], name: str) -> None:
    assert Names().take(*parts, ending=".csv") == name


def test_file_names_differ_even_where_case_does_not_count() -> None:
    names = Names()
    wanted = ["host", "Host", "host-2", "HOST", "host", "ho/st", "ho st", "x" * 10_000, "x" * 10_001]

    taken = [names.take(name, ending=".csv") for name in wanted]

    assert len({name.lower() for name in taken}) == len(wanted)
    assert max(len(name) for name in taken) < 120
