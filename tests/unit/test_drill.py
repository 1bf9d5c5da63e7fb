"""The drill itself: it names every fault point, orders are obeyed once, and it would see a broken promise."""

from __future__ import annotations

import ast
import errno
import re
import threading
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner

from simcourier.cli import main
from simcourier.drill.checks import Checker, Count, Sent
from simcourier.drill.faults import FAULTS
from simcourier.drill.mailbox import Mail, Mailbox
from simcourier.drill.orders import Orders, Rehearsed, obey
from simcourier.drill.points import POINTS
from simcourier.drill.rehearse import BROKEN, KEPT, Row
from simcourier.drill.table import table
from tests.support.commands import environ, sentence, simcourier

ROOT = Path(__file__).parents[2]
# Not on the way of a result; tests of their own fail there.
ELSEWHERE = {
    "carry_over.*", "run.*", "spool.*",
    "delivery.given_back", "expiry.deleted", "recorder.filed", "sweep.gathered", "sweep.replayed",
}  # fmt: skip


def named_points() -> set[str]:
    """The names of all points in the source; a part that is only known when it runs is a star."""
    found = set()
    for folder in ("messaging", "producer", "backends", "consumer", "ledger", "local_cloud", "simcourier"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "faults.point":
                    (name,) = node.args
                    found.add(re.sub(r"\{[^}]*\}", "*", ast.unparse(name).removeprefix("f").strip("'\"")))
    return found


def test_every_point_of_the_source_is_played_or_has_a_test_of_its_own() -> None:
    source = named_points()

    assert [name for name in POINTS if not any(fnmatch(name, one) for one in source)] == []
    played = {one for one in source if any(fnmatch(name, one) for name in POINTS)}
    assert [one for one in source - played if not any(fnmatch(one, other) for other in ELSEWHERE)] == []


def test_the_page_on_the_drill_names_every_fault_and_how_many_points_there_are() -> None:
    page = (ROOT / "docs" / "drill.md").read_text("utf-8")

    names = {fault.name for fault in FAULTS if fault.name.partition(":")[2] not in POINTS}
    assert [name for name in names if f"`{name}`" not in page] == []
    assert f"{len(POINTS)} points" in page


def test_an_order_is_obeyed_once_and_only_at_its_point(tmp_path: Path) -> None:
    orders, hook = Orders(tmp_path), obey(tmp_path)
    orders.give("mail.sent", "raise")

    hook("mail.claimed")
    assert orders.pending("mail.sent")
    with pytest.raises(Rehearsed):
        hook("mail.sent")
    hook("mail.sent")
    assert not orders.pending("mail.sent")


def test_an_order_that_was_withdrawn_is_not_obeyed(tmp_path: Path) -> None:
    orders, hook = Orders(tmp_path), obey(tmp_path)
    orders.give("mail.sent", "kill")

    orders.withdraw_all()

    hook("mail.sent")


def test_a_full_disk_is_told_as_the_system_does(tmp_path: Path) -> None:
    Orders(tmp_path).give("delivery.packaging", "full")

    with pytest.raises(OSError, match="No space left") as told:
        obey(tmp_path)("delivery.packaging")
    assert told.value.errno == errno.ENOSPC


def test_no_role_of_an_installation_takes_orders(tmp_path: Path) -> None:
    done = simcourier("worker", env=environ(data_dir=tmp_path / "data", rehearsal=tmp_path))

    assert done.returncode == 2
    assert "SIMCOURIER_REHEARSAL is no setting" in sentence(done)


class World:
    """A mail server with mails in it, and a web server with archives."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.mailbox = Mailbox()
        self.uncertain: dict[str, int] = {}

    def sent(self, *recipients: str, link: bool = True) -> Sent:
        name = uuid4().hex
        results = self.folder / name
        results.mkdir()
        (results / "a.sca").write_text(name)
        with zipfile.ZipFile(self.folder / f"{name}.zip", "w") as archive:
            archive.writestr("a.sca", name)
            archive.writestr("summary/INFO.txt", "made")
        return Sent(str(uuid4()), "key", b"", results, recipients or ("anna@example.org",), link)

    def mail(self, sent: Sent, to: str = "anna@example.org", *, archive: str = "", message_id: str = "<1>") -> None:
        link = f"{self.url}/{archive or sent.results.name}.zip"
        self.mailbox.keep(Mail(to, message_id, f"{link if sent.link else 'It failed.'}\ndelivery {sent.event_id}\n"))

    def count(self, *sent: Sent) -> Count:
        return Checker(self.mailbox, lambda _: self.uncertain).count(sent)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield World(tmp_path, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


def test_a_mail_and_its_link_for_each_recipient_keep_the_promise(world: World) -> None:
    both = world.sent("anna@example.org", "bert@example.org")
    failed = world.sent(link=False)
    world.mail(both)
    world.mail(both, "bert@example.org")
    world.mail(failed)

    count = world.count(both, failed)

    assert (count.deliveries, count.links, count.mails, count.lost, count.twice) == (2, 1, 3, 0, 0)
    assert count.kept


def test_a_mail_that_did_not_come_is_lost(world: World) -> None:
    both = world.sent("anna@example.org", "bert@example.org")
    world.mail(both)

    assert world.count(both).lost == 1


def test_a_link_to_the_results_of_others_or_to_nothing_is_lost(world: World) -> None:
    one, other, gone = world.sent(), world.sent(), world.sent()
    world.mail(one, archive=other.results.name)
    world.mail(other)
    world.mail(gone, archive="nothing")

    count = world.count(one, other, gone)

    assert (count.links, count.lost) == (1, 2)


def test_a_failure_where_a_link_was_promised_is_lost(world: World) -> None:
    one = world.sent()
    world.mail(Sent(one.event_id, "key", b"", one.results, one.recipients, link=False))

    assert world.count(one).lost == 1


def test_a_second_mail_came_twice_unless_the_email_sender_has_counted_it_itself(world: World) -> None:
    one = world.sent()
    world.mail(one)
    world.mail(one)

    assert (world.count(one).twice, world.count(one).uncertain) == (1, 0)
    world.uncertain = {"anna@example.org": 1}
    assert (world.count(one).twice, world.count(one).uncertain) == (0, 1)


def test_a_second_mail_under_another_message_id_came_twice_whatever_was_counted(world: World) -> None:
    one = world.sent()
    world.mail(one)
    world.mail(one, message_id="<2>")
    world.uncertain = {"anna@example.org": 1}

    assert (world.count(one).twice, world.count(one).uncertain) == (1, 0)


def test_a_second_link_and_a_mail_for_a_stranger_came_twice(world: World) -> None:
    one, other = world.sent(), world.sent()
    world.mail(one)
    world.mail(one, "eve@example.org", archive=other.results.name)

    assert world.count(one).twice == 2


def test_the_table_says_what_broke() -> None:
    good = Row("hang", "a worker stood still", Count(1, 1, 1), 1.0, KEPT)
    bad = Row("bug", "an exception", Count(1, 0, 0, 1, faults=["e: no mail for anna@example.org"]), 1.0, BROKEN)

    told = table([good, bad]).splitlines()

    assert told[0].split() == ["fault", "what", "happened", "links", "mails", "lost", "twice", "uncertain", "verdict"]
    assert told[1].split()[-6:] == ["1", "1", "0", "0", "0", "kept"]
    assert told[2].split()[-6:] == ["0", "0", "1", "0", "0", "BROKEN"]
    assert told[-1] == "bug: e: no mail for anna@example.org"


def test_faults_are_listed_and_an_unknown_one_is_refused() -> None:
    runner = CliRunner()

    listed = runner.invoke(main, ["drill", "--list", "--only", "smtp"])
    refused = runner.invoke(main, ["drill", "--only", "earthquake"])
    half = runner.invoke(main, ["drill", "--amqp-url", "amqp://localhost"])

    assert [line.split()[0] for line in listed.output.splitlines()] == ["smtp-4xx", "smtp-5xx", "smtp-data"]
    assert (refused.exit_code, half.exit_code) == (2, 2)
    assert "No fault is called earthquake" in refused.output
    assert "belong together" in half.output
