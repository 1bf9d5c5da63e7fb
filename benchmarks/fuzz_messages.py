"""Odd messages through the real handlers of worker, recorder and email sender: each is set aside or understood.

    python benchmarks/fuzz_messages.py [--inputs 100000] [--seed 1] [--database-url postgresql://...]

The messages of tests/fixtures are changed at one or several places, guided by what they reach (see
tests/support/guided.py).
What must hold: nobody raises, whatever the bytes; what is no valid message is set aside, with a reason on one line that
fits a header, and that can be filed; what is valid is read again as it was; what an event says makes no header of its
own in the mail about it; an event, with a folder of results that is there, goes the whole way to a mail; memory stays.
What follows from the seed alone is the same each time, but for times. Ends with 1 if something did not hold.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import hashlib
import json
import re
import resource
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import structlog
from django.core.management import call_command

from messaging.engine import QUEUE_HEADER, REASON_HEADER, Taken
from messaging.messages import InvalidMessage, SimulationCompleted, digest, parse
from messaging.settings import Settings
from tests.support.guided import ROOT, Run, change_json, fuzz, keep
from tests.support.ledger import settings_for, use_database

FIXTURES = ROOT / "tests" / "fixtures"
CORPUS = FIXTURES / "corpus" / "messages"
LONGEST_REASON = 600
WHOLE_WAYS, THEN_ONE_IN = 20, 200  # valid events that go the whole way
MAIL_ONE_IN = 5  # valid events whose mail is looked at
MAIL_HEAD = ["auto-submitted", "content-type", "date", "from", "message-id", "mime-version", "subject", "to"]
DEAD = "dead"


def main() -> None:
    """Run it on a ledger of its own and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database-url", help="an empty PostgreSQL database; else SQLite")
    parser.add_argument("--keep", type=Path, help="a folder for small inputs that reached something new")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for(Path(folder), asked.database_url)
        use_database(settings)
        call_command("migrate", verbosity=0)
        run = fuzz_messages(settings, Path(folder), asked.inputs, asked.seed)
    print(run)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    if asked.keep:
        keep(run, asked.keep)
    sys.exit(1 if run.findings else 0)


def fuzz_messages(settings: Settings, folder: Path, inputs: int, seed: int, whole_ways: int = WHOLE_WAYS) -> Run:
    """So many messages, on the migrated ledger of ``settings``; files go below ``folder``."""
    bugs: list[str] = []

    def listen(_: object, __: str, line: Any) -> Any:
        if str(line["event"]).endswith(".bug"):
            bugs.append(f"{line['event']}: {line.get('exc_info') or sys.exc_info()[1]!r}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[listen])
    try:
        with handlers(settings, folder, whole_ways) as through:

            def target(body: bytes) -> str:
                bugs.clear()
                answer = through.handle(body)
                assert not bugs, bugs[0]
                return answer

            return fuzz(target, seeds(folder / "results"), change_json, count=inputs, seed=seed)
    finally:
        structlog.configure(**before)


def seeds(results: Path) -> list[bytes]:
    """Golden messages, what was found before, and an event that can be delivered."""
    results.mkdir(exist_ok=True)
    (results / "a.sca").write_text("version 3\nscalar a b 1\n")
    golden = [file.read_bytes() for file in sorted((FIXTURES / "messages").glob("*.json"))]
    event = json.loads((FIXTURES / "messages" / "simulation.completed.v1.maximal.json").read_bytes())
    event["data"] |= {"results": {"location": results.as_uri()}, "backend": "memory", "fallback_backends": []}
    return [*golden, *(file.read_bytes() for file in sorted(CORPUS.glob("*"))), *[json.dumps(event).encode()] * 3]


class Handlers:
    """The three programs' handlers in this process, and what must hold for each message."""

    def __init__(self, worker: Any, recorder: Any, sender: Any, renderer: Any, whole_ways: int) -> None:
        self._worker, self._recorder, self._sender = worker, recorder, sender
        self._renderer = renderer
        self._whole_ways = whole_ways
        self._valid = 0
        self._said: set[str] = set()

    def handle(self, body: bytes) -> str:
        """Through all of them; what became of it."""
        from consumer.loop import Bury

        try:
            message = parse(body)
        except InvalidMessage as error:
            reason = str(error)
            for handler in (self._worker, self._recorder, self._sender):
                settled = handler.handle(_taken(body)).settle
                assert settled == Bury(reason), f"{type(handler).__name__} does not set it aside: {settled}"
            said = re.sub(r"[0-9]+|'.'", "", reason)[:80]
            self._file(body, reason, wholly=said not in self._said)
            self._said.add(said)
            return f"refused {said}"
        assert parse(message.to_bytes()) == message, "it is not read as it was written"
        if isinstance(message, SimulationCompleted):
            return self._event(body, message)
        assert not isinstance(self._sender.handle(_taken(body)).settle, Bury)
        for handler in (self._worker, self._recorder):
            assert isinstance(handler.handle(_taken(body)).settle, Bury)
        return f"understood {message.type}"

    def _event(self, body: bytes, event: SimulationCompleted) -> str:
        from consumer.loop import Ack, Bury, Later

        assert len(digest(body)) == hashlib.sha256().digest_size * 2
        recorded = self._recorder.handle(_taken(body)).settle
        if isinstance(recorded, Bury):  # its id is that of another event: one of those that this one was made of
            self._file(body, recorded.reason, wholly=self._valid % THEN_ONE_IN == 0)
            event = event.model_copy(update={"id": uuid.uuid4()})
            body = event.to_bytes()
            assert self._recorder.handle(_taken(body)).settle == Ack()
        self._valid += 1
        if self._valid % MAIL_ONE_IN == 0:
            self._expect_mail(event)
        if self._valid > self._whole_ways and self._valid % THEN_ONE_IN:
            return "recorded"
        result = self._worker.handle(_taken(body))
        assert isinstance(result.settle, Ack | Later), result
        for told in result.publish:
            assert not isinstance(self._sender.handle(_taken(told.body)).settle, Bury)
        if result.after is not None:
            result.after()
        return f"handled {[told.routing_key for told in result.publish]}"

    def _expect_mail(self, event: SimulationCompleted) -> None:
        """About its success and its failure; to somebody whose address is in order."""
        from ledger.api import DeliveryNotice, Kind

        for kind in (Kind.DELIVERED, Kind.FAILED):
            notice = DeliveryNotice(
                id=event.id, fence=1, recipient="anna@example.org", kind=kind, delivery_id=event.id, event=event.data,
                keep_until=date(2026, 6, 3), attempts=0, trouble_seconds=0.0, uncertain=0, link="https://x.example/f",
                link_expires=None, archive_name="x.zip", archive_size=3, archive_sha256="0" * 64, warnings=(), stage="",
                reason="No room.",
            )  # fmt: skip
            mail = self._renderer.render(notice, datetime(2026, 5, 4, tzinfo=UTC))
            received = email.message_from_bytes(mail.as_bytes(policy=email.policy.SMTP), policy=email.policy.default)
            assert sorted(map(str.lower, received.keys())) == MAIL_HEAD, f"other headers: {received.keys()}"
            assert received.is_multipart(), "the body is another one"

    def _file(self, body: bytes, reason: str, *, wholly: bool) -> None:
        assert len(reason) <= LONGEST_REASON, f"a reason of {len(reason)} characters"
        assert reason.isprintable(), f"a reason with other than printable characters: {reason!r}"
        if not wholly:
            return
        from consumer.loop import Ack

        headers = {REASON_HEADER: reason, QUEUE_HEADER: "lane"}
        assert self._recorder.handle(_taken(body, DEAD, headers)).settle == Ack()


def _taken(body: bytes, queue: str = "lane", headers: dict[str, str] | None = None) -> Taken:
    return Taken(queue, body, "m", headers or {}, redelivered=False, user_id=None, receipt=None)


@contextmanager
def handlers(settings: Settings, folder: Path, whole_ways: int) -> Iterator[Handlers]:
    """Made as a worker and an email sender make them, but for a storage backend in memory and mails as files."""
    from consumer.decide import Policy
    from consumer.email_sender import EmailSender
    from consumer.lease import LeaseKeeper
    from consumer.mail.render import Renderer
    from consumer.mail.transports import FileTransport
    from consumer.recorder import Recorder
    from consumer.results import ResultsWorker
    from consumer.stop import Stop
    from consumer.workshop import Workshop
    from ledger.api import Deliveries, Notices, define

    define("memory", token="fuzz")
    deliveries, stop = Deliveries("host:1", lease=60, overdue=60), Stop(1)
    notices, mails = Notices(lease=60, overdue=60), FileTransport(folder / "mail")
    workshop = Workshop(
        deliveries=deliveries,
        archives=folder / "archives",
        roots=(str(folder / "results"),),
        site=settings.site,
        operator="",
        mail_patience=timedelta(),
    )
    keeper, renderer = LeaseKeeper(deliveries, stop), Renderer("sims@example.org")
    keeper.start()
    try:
        yield Handlers(
            ResultsWorker(workshop, keeper, Policy()),
            Recorder(deliveries, DEAD),
            EmailSender(notices, renderer, mails, Policy(), stop),
            renderer,
            whole_ways,
        )
    finally:
        keeper.close()


if __name__ == "__main__":
    main()
