"""What a digest tells: means and intervals, counted independently; failed runs, and where everything is."""

from __future__ import annotations

import csv
import io
import math
import re
import uuid
from datetime import UTC, date, datetime
from email.message import EmailMessage
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import ledger
from tests.integration.test_mail_html import page, sample
from tests.integration.test_mail_text import parts
from tests.support.events import event
from tests.support.ledger import settings_for

SITE = "https://sim.example.org"
DELAY = ("delay, sink, mean", "s")
# Two-sided 95 % quantiles of Student's t by degrees of freedom, from a printed table.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 19: 2.093}


@pytest.fixture(autouse=True)
def django(tmp_path: Path) -> None:
    ledger.setup(settings_for(tmp_path))


def outcome(number: int, parameters: dict[str, Any], value: float | None = None, **fields: Any) -> Any:
    from ledger.api import Kind, RunOutcome

    study = {"id": "study", "parameters": parameters, "runs": fields.pop("runs", None)}
    data = {"simulation_id": f"run-{number}", "title": f"Run {number}", "campaign": study} | fields.pop("data", {})
    told = {"label": DELAY[0], "unit": DELAY[1], "number": value, "value": f"{value} s"}
    values: dict[str, Any] = {
        "delivery_id": uuid.UUID(int=1000 + number),
        "kind": Kind.DELIVERED,
        "event": event(**data).data,
        "reason": "",
        "statistics": (told,) if value is not None else (),
        "notes": (),
        "warnings": (),
        "link": f"https://files.example.org/f/{number}",
        "link_expires": None,
        "archive_name": f"run-{number}.zip",
        "archive_size": 1024,
        "archive_sha256": f"{number:064x}",
        "keep_until": date(2026, 6, 3),
        "page": f"/d/key-{number}/",
    }
    return RunOutcome(**values | fields)


def lost(number: int, parameters: dict[str, Any], reason: str, **fields: Any) -> Any:
    from ledger.api import Kind

    nothing: dict[str, Any] = {
        "archive_name": "",
        "archive_size": 0,
        "archive_sha256": "",
        "keep_until": None,
        "link": "",
    }
    return outcome(number, parameters, kind=Kind.FAILED, reason=reason, **nothing, **fields)


def render(*outcomes: Any, runs: int | None = None, site: str = SITE, **fields: Any) -> EmailMessage:
    from consumer.mail.render import Renderer
    from ledger.api import DigestNotice, Kind

    values: dict[str, Any] = {
        "id": uuid.UUID(int=1),
        "fence": 1,
        "recipient": "anna@example.org",
        "kind": Kind.DIGEST,
        "attempts": 0,
        "trouble_seconds": 0.0,
        "uncertain": 0,
        "campaign": "study",
        "runs": runs,
        "outcomes": outcomes,
    }
    renderer = Renderer("SimCourier <sim@example.org>", site)
    return renderer.render(DigestNotice(**values | fields), datetime(2026, 5, 4, 12, 0, tzinfo=UTC))


def attached(mail: EmailMessage) -> list[dict[str, str]]:
    (part,) = mail.iter_attachments()
    assert (part.get_content_type(), part.get_filename()) == ("text/csv", "runs.csv")
    return list(csv.DictReader(io.StringIO(part.get_payload(decode=True).decode())))  # type: ignore[union-attr]


def by_definition(values: list[float]) -> tuple[float, float]:
    """Mean and half of the 95 % interval, by the textbook."""
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, T[len(values) - 1] * math.sqrt(variance / len(values))


def test_runs_that_differ_by_seed_or_repetition_alone_are_one_row_with_mean_and_interval() -> None:
    from consumer.mail.matrix import matrix

    values = {
        (load, size): [load * size + 0.01 * math.sin(7 * seed + size) for seed in range(number)]
        for number, (load, size) in zip((2, 3, 4, 5, 10, 20), product((0.5, 0.8, 0.9), (2, 10)), strict=True)
    }
    names = ("seed", "Repetition", "seed-set", "RngRun", "rep", "replication")
    runs = [
        outcome(1000 * place + seed, {"load": load, "size": size, "policy": "fifo", names[place]: seed}, value)
        for place, ((load, size), found) in enumerate(values.items())
        for seed, value in enumerate(found)
    ]

    table = matrix(runs[::-1])

    assert table.common == (("policy", "fifo"),)
    assert set(table.parameters) == {"load", "size"}
    assert table.statistics == (DELAY,)
    assert len(table.rows) == len(values)
    for row in table.rows:
        told = dict(zip(table.parameters, row.values, strict=True))
        found = values[float(told["load"]), int(told["size"])]
        mean, half = by_definition(found)
        (estimate,) = row.estimates
        assert estimate is not None
        assert estimate.number == len(row.good) == len(found)
        assert estimate.mean == pytest.approx(mean, rel=1e-12)
        assert estimate.half_width == pytest.approx(half, rel=5e-4), "the printed table has three decimals"


def test_rows_are_in_the_order_of_the_numbers_and_like_values_are_one() -> None:
    from consumer.mail.matrix import matrix

    told = [100, 9, 9.0, 20, "fifo", "9", True, 1, None]
    table = matrix([outcome(number, {"n": value}, 1.0) for number, value in enumerate(told)])

    assert [row.values[0] for row in table.rows] == ["none", "yes", "1", "9", "20", "100", "9", "fifo"]
    assert [len(row.good) for row in table.rows] == [1, 1, 1, 2, 1, 1, 1, 1]


def test_only_simulations_that_succeeded_count_and_a_statistic_that_some_lack_says_of_how_many_it_is() -> None:
    broken = {"outcome": "failed", "exit_code": 139}
    mail = render(
        *(outcome(number, {"load": 0.5, "seed": number}, float(number)) for number in (1, 2, 3)),
        outcome(4, {"load": 0.5, "seed": 4}),
        outcome(5, {"load": 0.5, "seed": 5}, 1000.0, data=broken),
        lost(6, {"load": 0.5, "seed": 6}, "The folder is empty."),
        runs=6,
    )

    for text in (parts(mail)[0], page(mail).words):
        assert "4 of 6" in text
        assert "2.0 ±\u202f2.5 3 runs" in text, "4.303 * 1 / sqrt(3)"
        assert "failed (exit code 139)" in text
        assert "The folder is empty." in text
    assert mail["Subject"] == "study: 5 of 6 runs delivered, 1 of them failed, 1 not delivered"


@pytest.mark.parametrize(
    ("delivered", "failed", "before", "runs", "first"),
    [
        (198, 2, 0, 200, "198 of 200 runs delivered, 2 not delivered"),
        (200, 0, 0, 200, "200 runs delivered"),
        (1, 0, 0, 1, "1 run delivered"),
        (190, 2, 0, 200, "190 of 200 runs delivered, 2 not delivered, 8 still open"),
        (3, 1, 0, None, "3 runs delivered, 1 not delivered"),
        (0, 2, 0, 2, "0 of 2 runs delivered, 2 not delivered"),
        (3, 1, 196, 200, "3 further runs delivered, 1 not delivered (200 of 200 so far)"),
        (0, 1, 3, None, "1 further run not delivered"),
        (5, 0, 5, 4, "5 further runs delivered"),
    ],
)
def test_the_first_line_is_the_outcome(delivered: int, failed: int, before: int, runs: int | None, first: str) -> None:
    told = [outcome(number, {"n": number % 3}) for number in range(delivered)]
    told += [lost(500 + number, {"n": number % 3}, "The disk was full.") for number in range(failed)]
    earlier = tuple(outcome(900 + number, {"n": number % 3}) for number in range(before))

    mail = render(*told, runs=runs, before=earlier)

    assert mail["Subject"] == f"study: {first}"
    text, _ = parts(mail)
    assert text.splitlines()[0] == f"study: {first}"
    assert (f"The table holds {before} runs that earlier mails told of" in text) == bool(before)


def test_runs_lead_to_their_pages_where_the_site_s_address_is_known_or_to_their_archives() -> None:
    told = [outcome(1, {"n": 1, "seed": 1}, 1.0), lost(2, {"n": 1, "seed": 2}, "The disk was full.")]
    mail = render(*told, runs=2)

    links = [(one.words, one.attributes["href"]) for one in page(mail).all("a")]
    in_the_table = [("seed 1", f"{SITE}/d/key-1/"), ("seed 2", f"{SITE}/d/key-2/")]
    assert links == [*in_the_table, ("run-2", f"{SITE}/d/key-2/")], "that one with its reason as well"
    assert f"run-2 {SITE}/d/key-2/" in parts(mail)[0]
    assert f"- run-1 {SITE}/d/key-1/" in parts(mail)[0]
    unknown = render(*told, runs=2, site="")
    assert [one.attributes["href"] for one in page(unknown).all("a")] == ["https://files.example.org/f/1"], (
        "the archive"
    )
    assert "/d/" not in parts(unknown)[0]
    assert "run-2" in parts(unknown)[0]


def test_runs_that_are_too_many_for_a_link_each_are_found_in_the_file() -> None:
    told = [outcome(number, {"n": number % 3, "seed": number}, 1.0) for number in range(101)]
    mail = render(*told)

    assert not list(page(mail).all("a"))
    for text in (parts(mail)[0], page(mail).words):
        assert "in the attached file runs.csv" in text
        assert "key-7" not in text
    assert attached(mail)[7]["page"] == f"{SITE}/d/key-7/"
    assert len(list(page(render(*told[:100])).all("a"))) == 100


@pytest.mark.parametrize(
    ("failed", "delivered", "first"),
    [
        (1, 10, "10 runs delivered, 1 of them failed"),
        (1, 1, "1 run delivered, but it failed"),
        (3, 3, "3 runs delivered, but all of them failed"),
    ],
)
def test_the_subject_names_simulations_that_failed_within_the_sum(failed: int, delivered: int, first: str) -> None:
    told = [
        outcome(number, {}, data={"outcome": "failed" if number < failed else "succeeded"})
        for number in range(delivered)
    ]

    assert render(*told, runs=delivered)["Subject"] == f"study: {first}"


def test_reasons_and_notes_that_differ_by_numbers_alone_are_told_once() -> None:
    notes = [outcome(number, {"n": 1}, notes=(f"1 file ends in the middle: run-{number}.vec.",)) for number in range(9)]
    text, _ = parts(render(*notes, outcome(10, {"n": 1}, notes=("Two runs have the same seed.",))))

    assert "- 9 runs, such as: 1 file ends in the middle: run-0.vec.\n" in text
    assert "  and 4 more\n" in text
    assert "- 1 run: Two runs have the same seed.\n" in text


def test_the_attached_file_has_a_line_for_each_run_with_all_that_the_mail_knows() -> None:
    mail = render(
        outcome(1, {"load": 0.5, "title": "mine", "seed": 3, "fast": True}, 0.125, warnings=("core: not readable",)),
        lost(2, {"load": 0.8}, '=HYPERLINK("http://evil.example")', data={"title": "+1", "outcome": "aborted"}),
    )

    first, second = attached(mail)
    assert {name: value for name, value in first.items() if value} == {
        "simulation": "run-1",
        "title": "Run 1",
        "load": "0.5",
        "parameter title": "mine",
        "seed": "3",
        "fast": "true",
        "delivered": "yes",
        "outcome": "succeeded",
        "delay, sink, mean [s]": "0.125",
        "left out": "core: not readable",
        "archive": "run-1.zip",
        "bytes": "1024",
        "sha256": f"{1:064x}",
        "available": "until 03 June 2026, 23:59 UTC",
        "link": "https://files.example.org/f/1",
        "page": f"{SITE}/d/key-1/",
        "delivery": str(uuid.UUID(int=1001)),
    }
    assert (second["delivered"], second["outcome"], second["link"]) == ("no", "aborted", "")
    assert (second["title"], second["reason"][0]) == ("'+1", "'"), "no spreadsheet takes it for a formula"


def test_archives_that_go_on_different_days_are_told_by_the_first_and_the_last() -> None:
    mail = render(
        outcome(1, {}, keep_until=None),
        outcome(2, {}, keep_until=date(2026, 7, 1)),
        outcome(3, {}, keep_until=date(2026, 8, 1), link_expires=datetime(2026, 6, 20, 8, 30, tzinfo=UTC)),
    )

    for text in (parts(mail)[0], page(mail).words):
        assert "until 20 June 2026, 08:30 UTC; the last without an end date" in text


def test_a_large_study_shows_its_first_rows_and_the_file_has_the_rest() -> None:
    labels = [f"quantity{place}:timeavg, Net.host[*].application, mean over time" for place in range(4)]
    told = [
        outcome(
            number,
            {
                "n": number // 2,
                "size": 0.125 * number // 2,
                "policy": "fifo" if number % 4 else "priority",
                "seed": number,
            },
            statistics=tuple({"label": label, "number": math.pi * number, "unit": "s"} for label in labels),
        )
        if number % 7
        else lost(number, {"n": number // 2, "size": 0.125 * number // 2, "policy": "fifo"}, "The disk was full.")
        for number in range(1000)
    ]
    mail = render(*told)

    (table,) = (one for one in page(mail).all("table") if "matrix" in one.attributes.get("class", ""))
    assert len(list(table.all("tr"))) == 81, "heads, and two rows each"
    assert re.search(r"\n\d{3} more combinations are not shown here", parts(mail)[0])
    assert len(attached(mail)) == 1000
    assert len(parts(mail)[1]) < 100_000, "Gmail clips what is longer than 102 kB"


def test_many_parameters_share_a_column() -> None:
    told = [outcome(number, {f"p{place}": number * place for place in range(1, 7)}, 1.0) for number in range(3)]

    assert "p1 = 2, p2 = 4, p3 = 6, p4 = 8, p5 = 10, p6 = 12" in parts(render(*told))[0]


def test_hostile_names_stay_texts() -> None:
    evil = '"><img src=//evil.example onerror=x>'
    mail = render(
        outcome(1, {evil: evil, "n": 1}, notes=(evil,), statistics=({"label": evil, "number": 1.0, "unit": evil},)),
        lost(2, {evil: 2, "n": 2}, evil),
        campaign=evil,
    )

    assert not list(page(mail).all("img"))
    assert evil in page(mail).words


def test_the_sample_is_read_as_people_read_it(tmp_path: Path) -> None:
    words = page(sample(tmp_path, "digest")).words

    order = [
        "78 of 80 runs delivered, 1 of them failed, 2 not delivered; see the note about 1 run",
        "mm1-study",
        "In all runs: policy = fifo",
        "lifeTime [s]",
        "load = 0.2, buffer = 10 · 10 runs: seed 0",
        "Not delivered",
        "Simulations that did not succeed",
        "To know",
        "The results",
        "until 03 June 2026, 23:59 UTC",
    ]
    places = [words.index(told, words.index("78 of 80", 10)) for told in order]
    assert places == sorted(places)
    reminder = sample(tmp_path, "digest-reminder")
    assert reminder["Subject"] == "Available until 03 June 2026, 23:59 UTC: 80 runs of mm1-study"
    assert len(attached(reminder)) == 80
