"""What is wrong is told in one sentence to the person who can mend it, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from messaging.messages import SimulationCompleted
from producer import publish
from producer.event import InvalidEvent
from tests.support.events import event
from tests.support.installation import (
    Installation,
    fetch,
    files_below,
    link_in,
    stored_archives,
    text_of,
    unpacked,
)
from tests.support.scratch import wait_until

MIB = 1024 * 1024


@pytest.fixture
def one(tmp_path: Path, ledger_template: Path) -> Iterator[Installation]:
    """An embedded installation that takes results from ``<tmp>/roots`` and ``<tmp>/mount`` only."""
    for name in ("roots", "mount"):
        (tmp_path / name).mkdir()
    roots = f"{tmp_path / 'roots'},{tmp_path / 'mount'}"
    with Installation(tmp_path / "data", template=ledger_template, results_roots=roots) as installation:
        yield installation


def changed(original: SimulationCompleted, **fields: Any) -> bytes:
    """The event with other fields than our own library would let through."""
    document = json.loads(original.to_bytes())
    document["data"] |= fields
    return json.dumps(document).encode()


def never_a_traceback(installation: Installation) -> None:
    for log in installation.folder.glob("*.log"):
        assert "Traceback" not in log.read_text(), log.read_text()


def refused(mail: EmailMessage) -> str:
    """What a mail gives as the reason why there is no link."""
    assert mail["Subject"].startswith("Results not delivered: ")
    assert "http" not in text_of(mail)
    return text_of(mail)


def test_the_researcher_is_told_why_results_are_not_delivered(one: Installation, tmp_path: Path) -> None:
    from ledger.api import define

    define("local-old", token="127.0.0.1:1", active=False)
    one.start_cloud()
    one.start("worker")
    one.start("email-sender")
    one.wait_ready()
    good, outside = tmp_path / "roots" / "good", tmp_path / "outside"
    for folder in (good, outside):
        folder.mkdir()
        (folder / "a.sca").write_text("version 3\n")
    (tmp_path / "roots" / "empty").mkdir()
    (tmp_path / "roots" / "file").write_text("no folder")
    cases = {
        "No storage backend has the identifier 'dropbux'; there are: local.": event(results=good, backend="dropbux"),
        "The storage backend 'local-old' is not active.": event(results=good, backend="local-old"),
        f"{outside} is outside the folders": event(results=outside, backend="local"),
        "missing does not exist": event(results=tmp_path / "roots" / "missing", backend="local"),
        "empty holds no file": event(results=tmp_path / "roots" / "empty", backend="local"),
        "file is not a folder": event(results=tmp_path / "roots" / "file", backend="local"),
    }
    for told in cases.values():
        one.send(told.to_bytes())

    for reason, told in cases.items():
        assert reason in refused(one.wait_for_mail(str(told.id)))
        view = one.where(str(told.id))
        assert view is not None
        assert view["state"] == "FAILED"
        assert reason in view["sentence"]

    assert len(one.mails()) == len(cases)
    assert stored_archives(one) == []
    assert not any((one.folder / "archives").rglob("*.zip"))
    never_a_traceback(one)


def test_a_root_that_is_not_mounted_is_waited_for(one: Installation, tmp_path: Path) -> None:
    one.start_cloud()
    one.start("worker")
    one.start("email-sender")
    one.wait_ready()
    sent = event(results=tmp_path / "mount" / "run", backend="local")
    one.send(sent.to_bytes())

    def waits() -> bool:
        view = one.where(str(sent.id))
        return view is not None and view["state"] == "WAITING" and "not visible on this worker" in view["sentence"]

    wait_until(waits, "it waits for the root")
    (tmp_path / "mount" / "run").mkdir()
    (tmp_path / "mount" / "run" / "a.sca").write_text("version 3\n")
    one.simcourier("deliveries", "retry", str(sent.id), check=False)

    mail = one.wait_for_mail(str(sent.id))
    assert unpacked(fetch(link_in(mail))) == {"a.sca": b"version 3\n"}
    never_a_traceback(one)


def test_messages_that_are_no_events_are_set_aside_unchanged_and_told_to_the_operator(
    installation: Installation, results: Path
) -> None:
    installation.start_cloud()
    installation.start("worker")
    installation.start("email-sender")
    installation.wait_ready()
    first = event(results=results, backend="local", title="first")
    installation.send(first.to_bytes())
    fresh = event(results=results, backend="local")
    bodies = {
        "used before with another body": changed(first, title="second"),
        "recipients": changed(fresh, recipients=["anna"]),
        "one line without control characters": changed(fresh, title="two\nlines"),
        "at most 200 characters": changed(fresh, title="x" * 10_000),
        "not known here": changed(fresh).replace(b"completed.v1", b"completed.v7"),
        "bytes; at most": changed(fresh, configuration={"x": "y" * 2 * MIB}),
        "no JSON": b"\x00\xff not JSON",
    }
    installation.wait_for_mail(str(first.id))
    for body in bodies.values():
        installation.send(body, largest=4 * MIB)

    def letters() -> list[dict[str, Any]]:
        return list(json.loads(installation.simcourier("dead", "list", "--json").stdout))

    wait_until(lambda: len(letters()) == len(bodies), "all are set aside")
    installation.wait_until_quiet()
    for letter in letters():
        (body,) = [body for reason, body in bodies.items() if reason in letter["reason"]]
        assert letter["body"] == body.decode("utf-8", "backslashreplace")
        assert letter["times"] == 1
    last = event(results=results, backend="local")
    installation.send(last.to_bytes())
    assert unpacked(fetch(link_in(installation.wait_for_mail(str(last.id))))) == files_below(results)
    assert len(installation.mails()) == 2
    never_a_traceback(installation)


def test_markup_in_a_title_is_text_everywhere(one: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "roots" / "run"
    folder.mkdir()
    (folder / "a.sca").write_text("version 3\n")
    title = '<img src=x onerror="alert(1)">& "rho" = 0.8'
    one.start_cloud()
    one.start("worker")
    one.start("email-sender")
    one.wait_ready()

    mail = one.wait_for_mail(one.publish(folder, title=title))

    assert mail["Subject"] == f"Results ready: {title}"
    page = mail.get_body(("html",))
    assert page is not None
    assert "<img" not in page.get_content()
    assert "&lt;img src=x" in page.get_content()
    assert unpacked(fetch(link_in(mail))) == files_below(folder)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"title": "two\nlines"}, "title: one line without control characters"),
        ({"title": "x" * 10_000}, "title: .*200 characters"),
        ({"to": "anna"}, "'anna' is no email address"),
        ({"configuration": {"x": "y" * 2 * MIB}}, "put long texts into a results file"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_kept(
    one: Installation, tmp_path: Path, wrong: dict[str, Any], told: str
) -> None:
    arguments: dict[str, Any] = {"to": "anna@example.org", "backend": "local"} | wrong
    with pytest.raises(InvalidEvent, match=told):
        publish(tmp_path / "roots", settings=one.settings, **arguments)

    assert not any((one.folder / "spool").glob("*.json"))


def test_an_unreadable_file_is_left_out_and_named_in_the_mail(one: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "roots" / "run"
    folder.mkdir()
    (folder / "a.sca").write_text("version 3\n")
    (folder / "secret.vec").write_text("closed")
    (folder / "secret.vec").chmod(0)
    one.start_cloud()
    one.start("worker", without_root=True)
    one.start("email-sender")
    one.wait_ready()

    mail = one.wait_for_mail(one.publish(folder))

    assert unpacked(fetch(link_in(mail))) == {"a.sca": b"version 3\n"}
    assert "secret.vec: cannot be read (Permission denied)." in text_of(mail)


def test_a_file_that_changes_while_it_is_packed_arrives_as_it_is_in_the_end(one: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "roots" / "run"
    folder.mkdir()
    (folder / "a.vec").write_bytes(os.urandom(64 * MIB))
    (folder / "b.vec").write_text("vanishes")
    one.start_cloud()
    waits_here = tmp_path / "the worker waits"
    one.start("worker", waits_at=("delivery.packing", waits_here))
    one.start("email-sender")
    one.wait_ready()
    event_id = one.publish(folder)
    wait_until(waits_here.exists, "its first bytes are packed, and its last ones are not read yet")
    with (folder / "a.vec").open("ab") as growing:
        growing.write(b"more")
    (folder / "b.vec").unlink()
    waits_here.unlink()

    def waits() -> bool:
        view = one.where(event_id)
        return view is not None and view["state"] == "WAITING" and "while it was read" in view["sentence"]

    wait_until(waits, "it is tried again later")
    one.simcourier("deliveries", "retry", event_id, check=False)  # it may try by itself at this moment

    assert unpacked(fetch(link_in(one.wait_for_mail(event_id)))) == files_below(folder)
    never_a_traceback(one)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[], Any]]:
    """A file system of ``size`` at ``folder``, with what lies there; hands over what gives it more room."""
    kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not allowed here (root may)")
    try:
        for path, content in kept.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield partial(subprocess.run, ["mount", "-o", "remount,size=64m", str(folder)], check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write until there is no room left; the file that takes it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(b"x" * 4096)
    return filler


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A results folder of 4 MiB that cannot be compressed."""
    folder = tmp_path / "roots" / "run"
    folder.mkdir(parents=True)
    (folder / "a.vec").write_bytes(os.urandom(4 * MIB))
    return folder


def test_a_full_disk_under_the_archives_is_waited_for(one: Installation, run: Path) -> None:
    with small_disk(one.folder / "archives", "1m") as more_room:
        one.start_cloud()
        one.start("worker")
        one.start("email-sender")
        one.wait_ready()
        event_id = one.publish(run)

        def waits() -> bool:
            view = one.where(event_id)
            return view is not None and view["state"] == "WAITING" and "The worker's disk has" in view["sentence"]

        wait_until(waits, "it waits for room")
        more_room()
        one.simcourier("deliveries", "retry", event_id, check=False)  # it may try by itself at this moment

        assert unpacked(fetch(link_in(one.wait_for_mail(event_id)))) == files_below(run)
    never_a_traceback(one)


def test_a_full_disk_under_the_mails_is_waited_for(one: Installation, run: Path) -> None:
    with small_disk(one.mail_folder, "8k") as more_room:
        fill(one.mail_folder)
        one.start_cloud()
        one.start("worker")
        one.start("email-sender")
        one.wait_ready()
        event_id = one.publish(run)

        def told() -> bool:
            view = one.where(event_id)
            return view is not None and any("No space left" in notice["reason"] for notice in view["notices"])

        wait_until(told, "the mail waits for room")
        assert not any(one.mail_folder.glob("*.eml"))
        more_room()

        one.wait_for_mail(event_id)
    never_a_traceback(one)


def test_a_full_disk_under_the_ledger_is_waited_for(run: Path, tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "ledger", "2m") as more_room,
        Installation(tmp_path / "data", database_url=f"sqlite:///{tmp_path}/ledger/simcourier.db") as one,
    ):
        one.start_cloud()
        one.start("email-sender")
        worker = one.start("worker")
        one.wait_ready()
        fill(tmp_path / "ledger")
        event_id = one.publish(run)
        log = Path(f"/proc/{worker.pid}/fd/1").resolve()
        wait_until(lambda: "disk is full" in log.read_text(), "the worker meets the full disk")
        more_room()

        assert unpacked(fetch(link_in(one.wait_for_mail(event_id)))) == files_below(run)
        never_a_traceback(one)


def test_a_full_disk_under_the_broker_is_told_and_the_event_stays_in_the_spool(run: Path, tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "broker", "1m") as more_room,
        Installation(tmp_path / "data", broker_url=f"sqlite:///{tmp_path}/broker/broker.db") as one,
    ):
        one.start_cloud()
        one.start("email-sender")
        worker = one.start("worker")
        one.wait_ready()
        fill(tmp_path / "broker")

        done = one.simcourier("publish", str(run), "--to", "anna@example.org", "--backend", "local", check=False)
        assert "disk is full" in done.stdout
        assert "spool flush" in done.stdout
        assert len(list((one.folder / "spool").glob("*.json"))) == 1

        more_room()
        assert worker.poll() is None
        one.simcourier("spool", "flush")
        wait_until(lambda: len(one.mails()) == 1, "the mail")
        assert unpacked(fetch(link_in(one.mails()[0]))) == files_below(run)
        never_a_traceback(one)
