"""The page of a summary: what a researcher sees, and what a hostile result file cannot do to it."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from consumer.formats.contract import Run
from consumer.report.write import write
from consumer.statistics.model import Aggregate, FileRead, Replicated, ScalarRow, Summary, Warned
from tests.support import summaries
from tests.support.markup import Element, parsed

HOSTILE = (
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "]]><!--",
    "\" onload='alert(1)",
    "{{ 7 * 7 }}",
    "\u202egnp.exe",
    "שלום",
    "nul\x00 bell\x07 escape\x1b[31m line\nfeed\u2028",
    "half \udcff of a pair",
    "../../etc/passwd",
    "=HYPERLINK(1)",
    "x" * 10_240,
    "",
)
MADE: dict[str, Callable[[], Summary]] = {
    "queueing": summaries.queueing,
    "flows": summaries.flows,
    "traffic": summaries.traffic,
    "campaign": summaries.campaign,
    "empty": lambda: summaries.EMPTY,
}


@pytest.fixture(params=sorted(MADE))
def summary(request: pytest.FixtureRequest) -> Summary:
    return MADE[request.param]()


def page_of(summary: Summary, folder: Path) -> Element:
    write(summary, folder)
    return parsed((folder / "report.html").read_text("utf-8"))


def hostile(summary: Summary) -> Summary:
    texts = cycle(HOSTILE)
    changed = summaries.altered(summary, text=lambda text: next(texts) + text)
    assert isinstance(changed, Summary)
    return changed


def table(page: Element, name: str) -> Element:
    """The table of the section with this heading."""
    sections = [each for each in page.all("section") if each.attributes.get("aria-labelledby") == name]
    assert len(sections) == 1
    return next(sections[0].all("table"))


def test_the_first_thing_on_the_page_is_how_the_results_are_and_then_the_key_numbers(tmp_path: Path) -> None:
    page = page_of(summaries.queueing(), tmp_path)

    words = page.words
    places = [
        words.index(text) for text in ("The results are cut off", "Simulated time", "To know before", "qlen:vector")
    ]
    assert places == sorted(places)
    assert "at most 200 s" in words


def test_a_page_is_well_formed_whole_and_needs_nothing_from_elsewhere(summary: Summary, tmp_path: Path) -> None:
    page = page_of(summary, tmp_path)

    tags = {each.tag for each in page.all()}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "image", "use"}
    for each in page.all():
        assert not [name for name in each.attributes if name.startswith("on") or name in {"style", "src", "srcset"}]
    links = [each.attributes["href"] for each in page.all("a")]
    ids = {each.attributes["id"] for each in page.all() if "id" in each.attributes}
    for link in links:
        assert link[1:] in ids if link.startswith("#") else (tmp_path / link).is_file()


def test_the_policy_allows_the_style_sheet_of_the_page_and_nothing_else(tmp_path: Path) -> None:
    page = page_of(summaries.queueing(), tmp_path)

    policy = next(each for each in page.all("meta") if "http-equiv" in each.attributes).attributes["content"]
    styles = [each.text for each in page.all("style")]
    assert len(styles) == 1
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "url(" not in styles[0]
    assert "@import" not in styles[0]


def test_a_page_can_be_heard_as_well_as_seen(summary: Summary, tmp_path: Path) -> None:
    page = page_of(summary, tmp_path)

    assert next(page.all("html")).attributes["lang"] == "en"
    assert len(list(page.all("h1"))) == len(list(page.all("main"))) == 1
    ids = [each.attributes["id"] for each in page.all() if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    levels = [int(each.tag[1]) for each in page.all() if re.fullmatch("h[1-6]", each.tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for one in page.all("table"):
        assert next(one.all("caption")).words
        assert all(head.attributes["scope"] in {"col", "row"} for head in one.all("th"))
    for drawing in page.all("svg"):
        assert drawing.attributes["role"] == "img"
        assert drawing.attributes["aria-labelledby"].split() == [each.attributes["id"] for each in drawing.children[:2]]
        assert all(each.words for each in drawing.children[:2])
    for each in page.all():
        assert set(each.attributes.get("aria-labelledby", "").split()) <= set(ids)


@pytest.mark.parametrize("name", sorted(MADE))
def test_names_from_files_stay_text_whatever_they_are(name: str, tmp_path: Path) -> None:
    tame, wild = page_of(MADE[name](), tmp_path / "tame"), page_of(hostile(MADE[name]()), tmp_path / "wild")

    assert {each.tag for each in wild.all()} <= {each.tag for each in tame.all()} | {"circle", "bdi", "p", "span"}
    for each in wild.all():
        assert not [attribute for attribute in each.attributes if attribute.startswith("on")]
    text = (tmp_path / "wild" / "report.html").read_text("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "{{ 7 * 7 }}" in text or name == "empty"
    assert "x" * 301 not in text


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_plot_opens_alone_whatever_its_names_are(name: str, tmp_path: Path) -> None:
    files = write(hostile(MADE[name]()), tmp_path)

    for file in files:
        if file.startswith("plots/"):
            root = ET.fromstring((tmp_path / file).read_bytes())
            tags = {each.tag.removeprefix("{http://www.w3.org/2000/svg}") for each in root.iter()}
            assert tags <= {"svg", "title", "desc", "style", "rect", "text", "g", "path", "circle"}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 0.0, 1e308, -1e308, 5e-324, 1e-12])
@pytest.mark.parametrize("name", sorted(MADE))
def test_any_number_can_stand_anywhere(name: str, number: float, tmp_path: Path) -> None:
    signs = cycle((1.0, -1.0, 0.5))
    changed = summaries.altered(MADE[name](), number=lambda _: number * next(signs))

    text = page_of(changed, tmp_path)

    for each in text.all():
        places = " ".join(each.attributes.get(name, "") for name in ("d", "x", "y", "width", "height", "cx", "cy"))
        assert "nan" not in places
        assert "inf" not in places


def test_nan_is_shown_as_no_value_and_never_as_0(tmp_path: Path) -> None:
    rows = (ScalarRow(0, "net.a", "lost", math.nan), ScalarRow(0, "net.b", "lost", 0.0))
    page = page_of(replace(summaries.EMPTY, scalars=rows, scalars_found=2, missing_values=1), tmp_path)

    cells = [each.words for each in table(page, "scalars").all("td")]
    assert cells == ["no value", "0"]
    assert "1 number has no value and is left out." in page.words


def test_numbers_stand_with_their_unit_and_sensible_digits(tmp_path: Path) -> None:
    row = Aggregate(0, "host[*]", "delay", "scalar", 3, 1, 0.0237182, 0.01, 12345.678, 3.0, math.nan, "s")
    page = page_of(replace(summaries.EMPTY, aggregates=(row,)), tmp_path)

    found = table(page, "modules")
    assert [each.words for each in found.all("th")][-1] == "delay [s] host[*]"
    assert [each.words for each in found.all("td")] == ["0.02372", "0.01", "12\u202f346", "3", "no value", "3", "1"]


def test_whole_numbers_stand_where_the_others_have_their_point(tmp_path: Path) -> None:
    rows = tuple(ScalarRow(0, "m", f"x{number}", value) for number, value in enumerate((12.0, 1.5, 0.125)))
    page = page_of(replace(summaries.EMPTY, scalars=rows, scalars_found=3), tmp_path)

    cells = {each.words: each.attributes["class"] for each in table(page, "scalars").all("td")}
    assert cells == {"12": "number i3", "1.5": "number p2", "0.125": "number"}
    style = (tmp_path / "report.html").read_text("utf-8")
    assert 'td.i3::after { content: ".000"; }' in style
    assert 'td.p2::after { content: "00"; }' in style


def test_estimated_percentiles_are_marked_as_such(tmp_path: Path) -> None:
    page = page_of(summaries.queueing(), tmp_path)

    heads = [each.words for each in table(page, "statistics").all("th") if each.attributes["scope"] == "col"]
    assert [head for head in heads if "%" in head or "Median" in head] == ["≈ 5 %", "≈ Median", "≈ 95 %", "≈ 99 %"]
    assert "estimated from bins" in page.words


def test_the_rank_error_of_percentiles_is_shown_where_there_is_one(tmp_path: Path) -> None:
    exact = summaries.traffic()
    rough = replace(exact, vectors=(replace(exact.vectors[0], rank_error=0.005), *exact.vectors[1:]))

    assert "Percentiles' rank" not in table(page_of(exact, tmp_path / "exact"), "vectors").words
    cells = [each.words for each in table(page_of(rough, tmp_path / "rough"), "vectors").all("td")]
    assert "± 0.5\u202f%" in cells
    assert "exact" in cells


def test_a_mean_over_time_says_until_when_the_last_value_holds(tmp_path: Path) -> None:
    found = table(page_of(summaries.queueing(), tmp_path), "vectors")

    heads = [each.words for each in found.all("th") if each.attributes["scope"] == "col"]
    row = [each.words for each in next(one for one in found.all("tr") if "qlen:vector" in one.words).all("td")]
    assert row[heads.index("Mean over time") - 1] == "4.326"
    assert row[heads.index("held until, s") - 1] == "200"


def test_replications_come_with_their_interval_and_one_run_without(tmp_path: Path) -> None:
    several = Replicated(
        "Aloha", {"load": "0.2"}, "server", "utilization", 2, 0, 0.089658, 0.00117, 0.010511, 0.08, 0.1
    )
    one = replace(several, itervars={"load": "0.4"}, number=1, stddev=math.nan, half_width=None)
    page = page_of(replace(summaries.EMPTY, replications=(several, one)), tmp_path)

    rows = [[each.words for each in row.all("td")] for row in table(page, "replications").all("tr")][1:]
    assert rows[0][:5] == ["load=0.2", "2", "0.08966", "0.01051", "11.7\u202f%"]
    assert rows[1][:5] == ["load=0.4", "1", "0.08966", "", ""]


def test_states_are_shown_as_shares_of_the_time(tmp_path: Path) -> None:
    page = page_of(summaries.queueing(), tmp_path)

    assert "BUSY 65.0\u202f%, IDLE 25.0\u202f%, REPAIR 10.0\u202f%" in table(page, "states").words
    assert "state:vector" not in table(page, "vectors").words


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (Run("a", "sim", end=200.0), "200 s (told by the results)"),
        (Run("a", "sim", end=200.0, end_is_bound=True), "200 s (a limit in the configuration: the run may have ended"),
        (Run("a", "sim"), "the results do not tell; the last known time counts as the end"),
        (Run("a", "sim", warmup=900.0), "Warm-up 900 s, not recorded"),
        (Run("a", "sim", warmup=0.0), "Warm-up none"),
        (Run("a", "sim"), "Warm-up not told by the results"),
        (Run("a", "sim", {"seedset": "7"}, {"load": "0.3"}, [("seed", "1"), ("seed", "2")]), "seedset 7"),
    ],
)
def test_provenance_says_how_the_end_and_the_warm_up_are_known(run: Run, words: str, tmp_path: Path) -> None:
    assert words in page_of(replace(summaries.EMPTY, runs=(run,)), tmp_path).words


def test_what_was_skipped_stands_with_file_line_and_reason(tmp_path: Path) -> None:
    files = (FileRead("a.vec", 4096, "OMNeT++ text", incomplete=True), FileRead("run.log", 7, "", reason="empty"))
    warned = (Warned("a.vec", 31, "The last line was cut off."),)
    page = page_of(replace(summaries.EMPTY, files=files, warnings=warned, warnings_found=1), tmp_path)

    assert [each.words for each in table(page, "warnings").all("td")] == ["31", "The last line was cut off."]
    assert "run.log 7 bytes not read: empty" in table(page, "files").words
    assert "a.vec 4.0 KiB OMNeT++ text ends in the middle" in table(page, "files").words


@pytest.mark.full
def test_ten_thousand_rows_of_everything_give_a_page_that_says_where_the_rest_is(tmp_path: Path) -> None:
    made = summaries.queueing()
    scalars = tuple(ScalarRow(0, f"net.host[{number}]", "delay", 1.5 * number) for number in range(10_000))
    vectors = tuple(
        replace(made.vectors[0], module=f"net.host[{number}]", trace=made.vectors[0].trace if number < 50 else None)
        for number in range(10_000)
    )
    changed = replace(
        made,
        scalars=scalars,
        vectors=vectors,
        scalars_found=20_000,
        statistics=(replace(made.statistics[0], bins=made.statistics[0].bins[:4]),) * 10_000,
        aggregates=(made.aggregates * 10_000)[:10_000],
        files=(made.files * 10_000)[:10_000],
        warnings=(made.warnings * 10_000)[:10_000],
        runs=made.runs * 2_000,
    )

    page = page_of(changed, tmp_path)

    assert "These are the first 300 of 20\u202f000; all are in scalars.csv" in page.words
    assert (tmp_path / "report.html").stat().st_size < 2_000_000
    assert len(list(page.all("figure"))) <= 12 + 6 + 6 + 6 + 6
    assert (tmp_path / "scalars.csv").read_text("utf-8").count("\n") == 10_001


def test_the_table_people_read_begins_with_what_tells_most(tmp_path: Path) -> None:
    names = ("internalId", "foo", "queueLength:timeavg", "delay:mean")
    rows = tuple(Aggregate(0, "host[*]", name, "scalar", 3, 0, 1.0, 0.5, 2.0, 3.0, 0.9) for name in names)
    single = replace(rows[3], name="throughput", number=1)
    page = page_of(replace(summaries.EMPTY, aggregates=(*rows, single)), tmp_path)

    heads = [each.words for each in table(page, "modules").all("th") if each.attributes["scope"] == "row"]
    assert heads == [f"{name} host[*]" for name in ("delay:mean", "queueLength:timeavg", "foo", "internalId")]


def test_files_without_a_run_are_not_counted_as_runs(tmp_path: Path) -> None:
    made = summaries.traffic()
    runs = tuple(Run("", "SUMO 1.23.1", {"file": name}, end=1600.0) for name in ("summary.xml", "trip_info.xml"))
    page = page_of(replace(made, runs=runs), tmp_path)

    assert next(page.all("h1")).words == "SUMO 1.23.1 run"
    assert "All results were read. 2 files: 4 scalars, 6 vectors." in page.words
    assert "summary.xml" in table(page, "vectors").words
    assert table(page, "provenance").words.startswith("2 files that do not name a run")


def test_what_never_happened_comes_after_what_did(tmp_path: Path) -> None:
    values = [("lost", 0.0), ("lost", 0.0), ("foo", 1.0), ("qlen", 0.0), ("qlen", 2.0), ("delay", math.nan)]
    rows = tuple(ScalarRow(0, f"host[{number}]", name, value) for number, (name, value) in enumerate(values))
    page = page_of(replace(summaries.EMPTY, scalars=rows, scalars_found=len(rows)), tmp_path)

    heads = [each.words.split(" ")[0] for each in table(page, "scalars").all("th") if each.attributes["scope"] == "row"]
    assert heads == ["qlen", "qlen", "foo", "delay", "lost", "lost"]


def test_nothing_at_all_gives_a_page_that_says_so(tmp_path: Path) -> None:
    page = page_of(summaries.EMPTY, tmp_path)

    assert "Nothing to show. 0 files: no numbers were found." in page.words
    assert not list(page.all("svg"))


@pytest.mark.parametrize("name", sorted(MADE))
def test_the_same_summary_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    first, again = write(MADE[name](), tmp_path / "a"), write(MADE[name](), tmp_path / "b")

    assert first == again
    for file in first:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    found = [path.relative_to(tmp_path / "a").as_posix() for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert sorted(found) == first


@pytest.mark.parametrize("unseen", ["\u202e", "\u2066", "\u200f", "\u200b", "\u2060", "\ufeff"], ids=ascii)
def test_what_nobody_sees_in_results_is_shown_as_something(unseen: str, tmp_path: Path) -> None:
    """Names in results may differ by it, so that it is not dropped; but nobody is to be misled by it."""
    name = f"queue{unseen}gpj.exe"
    texts = cycle([name])
    changed = summaries.altered(summaries.queueing(), text=lambda text: next(texts) + text)
    assert isinstance(changed, Summary)

    words = page_of(changed, tmp_path).words

    assert "queue\ufffdgpj.exe" in words
    assert unseen not in words
