"""What a mail says."""

from __future__ import annotations

import email
import email.policy
import uuid
from datetime import UTC, date, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

import ledger
from messaging.messages import Completed
from tests.support.events import event
from tests.support.ledger import settings_for

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def render(tmp_path: Path, data: dict[str, Any] | None = None, **fields: Any) -> EmailMessage:
    ledger.setup(settings_for(tmp_path))
    from consumer.mail.render import Renderer
    from ledger.api import DeliveryNotice, Kind

    completed: Completed = event(**(data or {})).data
    values: dict[str, Any] = {
        "id": uuid.UUID(int=1),
        "fence": 1,
        "recipient": "anna@example.org",
        "kind": Kind.DELIVERED,
        "delivery_id": uuid.UUID(int=2),
        "event": completed,
        "keep_until": date(2026, 6, 3),
        "attempts": 0,
        "trouble_seconds": 0.0,
        "uncertain": 0,
        "link": "https://files.example.org/f/abc/x.zip",
        "link_expires": None,
        "archive_name": "x.zip",
        "archive_size": 3 * 1024 * 1024,
        "archive_sha256": "0" * 64,
        "warnings": (),
        "stage": "",
        "reason": "",
    }
    return Renderer("SimCourier <sim@example.org>").render(DeliveryNotice(**values | fields), NOW)


def parts(mail: EmailMessage) -> tuple[str, str]:
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    return text.get_content(), html.get_content()


def test_both_parts_carry_link_size_digest_and_date(tmp_path: Path) -> None:
    for part in parts(render(tmp_path)):
        for told in ("https://files.example.org/f/abc/x.zip", "3.0 MiB", "0" * 64, "until 03 June 2026"):
            assert told in part


def test_the_service_s_earlier_end_is_told_with_its_time(tmp_path: Path) -> None:
    text, _ = parts(render(tmp_path, link_expires=datetime(2026, 5, 10, 8, 30, tzinfo=UTC)))

    assert "until 10 May 2026, 08:30 UTC" in text


def test_a_later_end_of_the_link_does_not_change_the_promise(tmp_path: Path) -> None:
    text, _ = parts(render(tmp_path, link_expires=datetime(2026, 6, 8, tzinfo=UTC)))

    assert "until 03 June 2026" in text


def test_kept_for_ever_says_so(tmp_path: Path) -> None:
    assert "without an end date" in parts(render(tmp_path, keep_until=None))[0]


@pytest.mark.parametrize(
    "title",
    [
        "=?utf-8?q?ok=0D=0AFrom:_boss@example.org=0D=0A=0D=0AClick_here?=",
        "=?utf-8?b?b2sNCkJjYzogZXZlQGV4YW1wbGUub3Jn?= and more",
        "=?iso-8859-1?Q?a?= =?utf-8?q?=0ABcc:_x?=",
        "is x =? 3",
    ],
)
def test_no_title_makes_a_header_or_a_body_of_its_own(title: str, tmp_path: Path) -> None:
    mail = render(tmp_path, {"title": title})

    head, _, body = mail.as_bytes(policy=email.policy.SMTP).partition(b"\r\n\r\n")
    received = email.message_from_bytes(head + b"\r\n\r\n" + body, policy=email.policy.default)
    assert set(received.keys()) == set(render(tmp_path).keys())
    assert len(received.keys()) == len(render(tmp_path).keys())
    assert received["From"] == "SimCourier <sim@example.org>"
    assert title in str(received["Subject"]).replace("\u200b", ""), "it is told as it was written"
    assert b"Click" not in body.partition(b"--====")[0]


def test_a_time_that_no_calendar_has_in_utc_is_left_out(tmp_path: Path) -> None:
    text, _ = parts(render(tmp_path, {"finished": "9999-12-31T23:59:59-14:00", "started": "0001-01-01T00:00:00+14:00"}))

    assert "9999" not in text
    assert "ended" not in text


def test_an_address_that_no_mail_can_have_is_told(tmp_path: Path) -> None:
    from consumer.mail.render import NoAddress

    with pytest.raises(NoAddress):
        render(tmp_path, recipient="=?utf-8?q?=0D=0ABcc:_x?=@example.org")


def test_html_in_a_title_or_a_file_name_stays_text(tmp_path: Path) -> None:
    mail = render(tmp_path, {"title": '<img src=x onerror="1">'}, warnings=("<script>: a link that leads out",))
    _, html = parts(mail)

    assert "<img src=x" not in html
    assert "<script>" not in html
    assert mail["Subject"] == 'Results ready: <img src=x onerror="1">'


@pytest.mark.parametrize(
    ("outcome", "subject"),
    [("failed", "Simulation failed: M/M/1"), ("aborted", "Simulation aborted: M/M/1")],
)
def test_a_simulation_that_failed_is_told_with_the_end_of_its_log(tmp_path: Path, outcome: str, subject: str) -> None:
    mail = render(tmp_path, {"outcome": outcome, "exit_code": 139, "log_tail": "Segmentation fault"})

    assert mail["Subject"] == subject
    for part in parts(mail):
        assert "Segmentation fault" in part
        assert f"{outcome} (exit code 139)" in part
        assert part.index("Segmentation fault") < part.index("https://files.example.org"), "it is the reason for it all"


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        ("succeeded", ""),
        ("failed", "The simulation itself failed (exit code 3)."),
        ("aborted", "The simulation itself was aborted (exit code 3)."),
    ],
)
def test_results_that_are_missing_because_the_simulation_failed_are_told_so(
    tmp_path: Path, outcome: str, sentence: str
) -> None:
    ledger.setup(settings_for(tmp_path))
    from ledger.api import Kind

    data = {"outcome": outcome, "exit_code": 3, "log_tail": "no such parameter"}
    mail = render(tmp_path, data, kind=Kind.FAILED, reason="The results folder does not exist.", link="")

    for part in parts(mail):
        assert sentence in part
        assert ("The simulation itself" in part) == (outcome != "succeeded")
        assert "no such parameter" in part
        after = part.index("What happens next") < part.index("no such parameter")
        assert after == (outcome == "succeeded"), "the reason stands before that"


def test_a_delivery_that_failed_tells_reason_and_what_happens_next(tmp_path: Path) -> None:
    ledger.setup(settings_for(tmp_path))
    from ledger.api import Kind

    mail = render(tmp_path, kind=Kind.FAILED, reason="The results folder does not exist.", link="")

    assert mail["Subject"] == "Results not delivered: M/M/1"
    for part in parts(mail):
        assert "The results folder does not exist." in part
        assert "it goes on where it stopped" in part


def test_the_same_notification_has_the_same_message_id(tmp_path: Path) -> None:
    assert render(tmp_path)["Message-ID"] == render(tmp_path, attempts=3)["Message-ID"]


def test_many_warnings_are_counted_rather_than_listed(tmp_path: Path) -> None:
    text, _ = parts(render(tmp_path, warnings=tuple(f"{n}: not a regular file." for n in range(500))))

    assert "and 480 more" in text


def test_an_operator_s_notice_is_plain_and_says_what_it_is_about(tmp_path: Path) -> None:
    ledger.setup(settings_for(tmp_path))
    from consumer.mail.render import Renderer
    from ledger.api import Kind, OperatorNotice

    notice = OperatorNotice(
        id=uuid.UUID(int=1),
        fence=1,
        recipient="ops@example.org",
        kind=Kind.OPERATOR,
        attempts=0,
        trouble_seconds=0.0,
        uncertain=0,
        about="storage backend <dropbox>",
        text="The token was revoked <b>.\n\n    simcourier backends check dropbox",
    )

    mail = Renderer("SimCourier <sim@example.org>").render(notice, NOW)

    text, html = parts(mail)
    assert mail["Subject"] == "SimCourier: storage backend <dropbox>"
    assert text.startswith("The token was revoked <b>.\n\n    simcourier")
    assert "revoked &lt;b&gt;." in html
    assert "Delivery" not in html


def test_where_it_ran_is_told_in_words_though_nothing_else_is_known(tmp_path: Path) -> None:
    for part in parts(render(tmp_path, {"host": "node17"})):
        assert "Ran on node17" in part
