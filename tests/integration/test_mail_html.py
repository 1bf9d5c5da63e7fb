"""What a reader sees of a mail in a mail client, and what the client is asked to do: nothing."""

from __future__ import annotations

import email.policy
import io
import os
import re
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

import ledger
from consumer.mail.commands import KINDS
from simcourier.cli import main
from tests.integration.test_mail_text import parts, render
from tests.support import forked
from tests.support.ledger import settings_for
from tests.support.markup import Element, parsed

SITE = "https://sim.example.org/results"


def sample(tmp_path: Path, kind: str, **renderer: Any) -> EmailMessage:
    ledger.setup(settings_for(tmp_path))
    from consumer.mail.render import Renderer
    from consumer.mail.samples import sample as made

    now = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    return Renderer("SimCourier <sim@example.org>", SITE, **renderer).render(made(kind, "anna@example.org"), now)


def page(mail: EmailMessage) -> Element:
    return parsed(parts(mail)[1])


def pictures(mail: EmailMessage) -> list[EmailMessage]:
    return [part for part in mail.walk() if part.get_content_maintype() == "image" and isinstance(part, EmailMessage)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_mail_is_whole_html_with_inline_styles_that_asks_nobody_for_anything(tmp_path: Path, kind: str) -> None:
    mail = sample(tmp_path, kind)
    html = page(mail)

    assert mail["Auto-Submitted"] == "auto-generated"
    sources = [one.attributes[name] for one in html.all() for name in ("src", "background") if name in one.attributes]
    assert all(source.startswith("cid:") for source in sources)
    assert {one.tag for one in html.all()}.isdisjoint({"script", "link", "object", "iframe", "form", "svg", "base"})
    assert not re.search(r"url\(|@import", parts(mail)[1])
    shown = [one for one in html.all() if one.tag in {"h1", "p", "td", "th"} and one.words]
    assert all(one.attributes.get("style") for one in shown), "clients that drop <style> still show it right"
    assert all(one.attributes.get("role") == "presentation" or list(one.all("th")) for one in html.all("table"))


def test_the_first_lines_tell_outcome_numbers_warnings_and_comparison_before_plot_and_link(tmp_path: Path) -> None:
    words = page(sample(tmp_path, "delivered-failed")).words

    order = [
        "Simulation failed (exit code 1)",
        "M/M/1, load 0.8, repetition 3",
        "The end of the simulation's log",
        "queueLength Mm1.queue, mean over time above all 4 earlier runs: 2.981 to 3.144, mean 3.07 3.243",
        "To know",
        "4000 samples, largest 20",
        "Get the results",
        "until 03 June 2026, 23:59 UTC",
        "Not in the archive",
    ]
    places = [words.index(told, words.index("Simulation failed", 5)) for told in order]
    assert places == sorted(places)


def test_the_plot_travels_with_the_mail_and_says_in_words_what_it_shows(tmp_path: Path) -> None:
    mail = sample(tmp_path, "delivered")

    (picture,) = pictures(mail)
    (shown,) = page(mail).all("img")
    assert shown.attributes["src"] == f"cid:{picture['Content-ID'].strip('<>')}"
    assert "between 0 and 20" in shown.attributes["alt"]
    assert picture.get_content_disposition() == "inline"
    with Image.open(io.BytesIO(picture.get_content())) as image:
        assert (image.format, image.size) == ("PNG", (720, 380))
    assert len(bytes(mail)) < 50_000


def test_a_failure_tells_stage_reason_what_happens_next_and_the_log_s_end(tmp_path: Path) -> None:
    for text in (parts(sample(tmp_path, "failed"))[0], page(sample(tmp_path, "failed")).words):
        for told in (
            "when the archive was to be stored: The account",
            "What happens next",
            "publish them again",
            "event #1",
        ):
            assert told in text
        assert "Get the results" not in text


def test_a_reminder_says_in_its_subject_until_when(tmp_path: Path) -> None:
    mail = sample(tmp_path, "reminder")

    assert mail["Subject"] == "Available until 03 June 2026, 23:59 UTC: M/M/1, load 0.8, repetition 3"
    for part in parts(mail):
        assert "After that the file is removed" in part
        assert f"{SITE}/d/" in part


def test_what_is_inside_is_told_by_names_while_there_are_few(tmp_path: Path) -> None:
    from ledger.api import Compared, Contents

    few = Contents(2, 3000, ("a.sca", "b.vec"), "summary")
    many = Contents(4711, 3 * 1024**3, ("a.sca", "b.vec"), "")

    told, _ = parts(render(tmp_path, contents=few, statistics=(Compared("delay", "3 s"),)))
    assert "2 files of the results, 2.9 KiB: a.sca, b.vec\n" in told
    assert "summary/report.html, with plots and tables of all numbers" in told
    for told in parts(render(tmp_path, contents=few)):
        assert "report.html" not in told, "there are no numbers"
    told, _ = parts(render(tmp_path, contents=many))
    assert "4711 files of the results, 3.0 GiB\n" in told
    assert "report.html" not in told


def test_the_page_is_told_where_the_site_s_address_is_known_with_what_it_can_do(tmp_path: Path) -> None:
    text, html = parts(sample(tmp_path, "delivered"))
    assert f"{SITE}/d/Wk9Tn2vPq0aJm5RxUe7sYh3LbC1dFg8Z/" in text
    assert f'href="{SITE}/d/Wk9Tn2vPq0aJm5RxUe7sYh3LbC1dFg8Z/"' in html
    assert "keeps the file longer" in text

    for bound in (0, 30):  # days, as many as it is kept anyway
        assert "keeps the file longer" not in parts(sample(tmp_path, "delivered", keep_longer_days=bound))[0]
    assert "/d/" not in parts(render(tmp_path, page="/d/key/"))[0], "nobody has set an address"


def test_a_command_for_the_operator_stands_alone(tmp_path: Path) -> None:
    html = page(sample(tmp_path, "operator"))

    assert [one.words for one in html.all("pre")] == ["simcourier backends check dropbox-group"]


def test_hostile_texts_stay_texts_wherever_they_stand(tmp_path: Path) -> None:
    from ledger.api import Compared, Contents, Drawn

    evil = '"><img src=//evil.example onerror=x><style>*{color:red}</style><link rel=stylesheet href=//evil.example/x>'
    event = {"title": evil, "host": evil[:100], "outcome": "failed", "log_tail": f"</pre>{evil}"}
    with io.BytesIO() as stream:
        Image.new("RGB", (2, 2)).save(stream, "PNG")
        drawn = Drawn(evil, evil, evil, stream.getvalue())
    mail = render(
        tmp_path,
        event,
        statistics=(Compared(evil, evil),),
        notes=(evil,),
        warnings=(evil,),
        contents=Contents(1, 1, (evil,), evil),
        picture=drawn,
        archive_name=evil,
    )

    html = page(mail)
    assert [one.attributes["src"][:4] for one in html.all("img")] == ["cid:"]
    assert not list(html.all("link"))
    assert len(list(html.all("style"))) == 1
    assert "color: red" not in parts(mail)[1]


def test_preview_writes_each_mail_as_it_is_sent_and_as_pages_without_touching_anything(tmp_path: Path) -> None:
    """Neither ledger, nor broker, nor secret key is there; it runs as a process, as settings are read once in each."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SIMCOURIER_")} | {
        "SIMCOURIER_DATA_DIR": str(tmp_path / "data"),
        "SIMCOURIER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
        "SIMCOURIER_BROKER_URL": "amqp://nobody:nothing@127.0.0.1:1/x",
    }
    done = forked.run(["email", "preview", "-o", str(tmp_path / "out")], environ)

    assert done.returncode == 0, done.stderr
    for kind in KINDS:
        mail = email.message_from_bytes((tmp_path / "out" / f"{kind}.eml").read_bytes(), policy=email.policy.default)
        assert mail["Subject"]
        assert (tmp_path / "out" / f"{kind}.txt").stat().st_size
        images = list(parsed((tmp_path / "out" / f"{kind}.html").read_text("utf-8")).all("img"))
        assert all((tmp_path / "out" / one.attributes["src"]).is_file() for one in images)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("site", ["", "https://sim.example.org"])
def test_preview_names_pages_as_the_mails_that_are_sent_do(site: str, tmp_path: Path) -> None:
    environ = {"SIMCOURIER_PUBLIC_URL": site} if site else {}
    done = CliRunner().invoke(main, ["email", "preview", "delivered", "-o", str(tmp_path)], env=environ)

    text = (tmp_path / "delivered.txt").read_text("utf-8")
    assert ("The delivery's page" in text, f"{site}/d/" in text) == (bool(site), bool(site))
    assert ("SIMCOURIER_PUBLIC_URL is not set" in done.stderr) == (not site)


def test_preview_lists_the_kinds() -> None:
    assert CliRunner().invoke(main, ["email", "preview", "--list"]).output.split() == list(KINDS)


def test_preview_of_one_kind_writes_that_alone(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["email", "preview", "reminder", "-o", str(tmp_path / "out")])

    assert done.exit_code == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "reminder.eml",
        "reminder.html",
        "reminder.txt",
    ]
    assert CliRunner().invoke(main, ["email", "preview", "nosuch"]).exit_code == 2
