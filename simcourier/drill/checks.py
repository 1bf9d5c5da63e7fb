"""What arrived, seen from outside: mails at the mail server, and what the links in them lead to."""

from __future__ import annotations

import io
import re
import urllib.error
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from simcourier.drill.mailbox import Mail, Mailbox

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MADE = ("summary/", "MANIFEST.sha256")  # what stands in an archive besides the results


@dataclass(frozen=True, slots=True)
class Sent:
    """An event that the broker, or the spool, has accepted.

    Args:
        body: of the message, byte for byte.
        recipients: who is to get a mail.
        link: a link is expected; else the sentence that says why there is none.
    """

    event_id: str
    routing_key: str
    body: bytes
    results: Path
    recipients: tuple[str, ...]
    link: bool = True


@dataclass(slots=True)
class Count:
    """What became of some deliveries.

    Args:
        links: that lead to exactly the results.
        mails: all of them.
        lost: recipients without their mail, and deliveries whose link does not lead to their results.
        twice: mails too many, and second links.
        uncertain: mails too many that the email sender itself counted: the mail server was lost after it had been given
            them. They carry the Message-ID of the first.
        faults: what is not as promised, in words.
    """

    deliveries: int = 0
    links: int = 0
    mails: int = 0
    lost: int = 0
    twice: int = 0
    uncertain: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """True if the promise was kept."""
        return not self.lost and not self.twice


class Checker:
    """Counts what arrived for events.

    Args:
        uncertain: by event id: how often a mail was sent to whom without knowing whether it arrived, as an operator
            is shown it.
    """

    def __init__(self, mailbox: Mailbox, uncertain: Callable[[str], Mapping[str, int]]) -> None:
        self._mailbox = mailbox
        self._uncertain = uncertain
        self._read = 0
        self._about: dict[str, list[Mail]] = {}
        self._good: dict[tuple[str, Path], bool] = {}

    def about(self, event_id: str) -> list[Mail]:
        """The mails that name an event."""
        for mail in self._mailbox.since(self._read):
            self._read += 1
            for named in set(UUID.findall(mail.text)):
                self._about.setdefault(named, []).append(mail)
        return self._about.get(event_id, [])

    def missing(self, sent: Iterable[Sent]) -> list[Sent]:
        """The events of which somebody has not heard yet."""
        return [one for one in sent if {mail.recipient for mail in self.about(one.event_id)} < set(one.recipients)]

    def count(self, sent: Iterable[Sent]) -> Count:
        """Count, and follow every link that was not followed before."""
        count = Count()
        for one in sent:
            self._count_one(one, count)
        return count

    def _count_one(self, one: Sent, count: Count) -> None:
        count.deliveries += 1
        mails = self.about(one.event_id)
        count.mails += len(mails)
        got = Counter(mail.recipient for mail in mails)
        for recipient in one.recipients:
            if not got[recipient]:
                count.lost += 1
                count.faults.append(f"{one.event_id}: no mail for {recipient}")
        if any(number > 1 for number in got.values()):
            self._count_again(one, mails, count)
        for recipient in got.keys() - set(one.recipients):
            count.twice += 1
            count.faults.append(f"{one.event_id}: a mail for {recipient}, who should not have one")
        links = sorted({link for mail in mails for link in mail.links})
        if len(links) > 1:
            count.twice += len(links) - 1
            count.faults.append(f"{one.event_id}: {len(links)} different links")
        good = [link for link in links if self._leads_to(link, one.results)]
        count.links += len(good)
        if mails and bool(good) != one.link:
            count.lost += 1
            wrong = "its link does not lead to its results" if links else f"a failure was told: {mails[0].text!r}"
            count.faults.append(f"{one.event_id}: {wrong if one.link else 'a link, where a failure was to be told'}")

    def _count_again(self, one: Sent, mails: list[Mail], count: Count) -> None:
        known = self._uncertain(one.event_id)
        for recipient in one.recipients:
            ids = Counter(mail.message_id for mail in mails if mail.recipient == recipient)
            again = sum(ids.values()) - 1
            excused = min(max(again, 0), known.get(recipient, 0)) if len(ids) == 1 else 0
            count.uncertain += excused
            if again > excused:
                count.twice += again - excused
                count.faults.append(f"{one.event_id}: {again + 1} mails for {recipient}")

    def _leads_to(self, link: str, results: Path) -> bool:
        if (link, results) not in self._good:
            try:
                self._good[link, results] = _unpacked(_fetch(link)) == _files(results)
            except (OSError, urllib.error.URLError, zipfile.BadZipFile):
                return False
        return self._good[link, results]


def _fetch(link: str) -> bytes:
    with urllib.request.urlopen(link, timeout=60) as answer:  # noqa: S310 - from a mail of our own installation
        return bytes(answer.read())


def _unpacked(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist() if not name.startswith(MADE)}


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
