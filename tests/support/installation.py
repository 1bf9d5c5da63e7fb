"""A whole installation of real processes on one machine, in a folder of the test's own."""

from __future__ import annotations

import contextlib
import email
import email.policy
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from django.core.management import call_command
from django.db import DatabaseError, connections

from messaging.cli import engine_of
from messaging.connect import connect
from messaging.engine import BrokerError, Outgoing
from messaging.settings import Settings, load
from producer import publish
from tests.support import forked
from tests.support.ledger import SECRET, migrated_copy, use_database
from tests.support.scratch import free_ports, wait_until

KEY = "an upload key that only the tests know"
ROOT = Path(__file__).resolve().parents[2]


class Installation:
    """Starts roles as processes; ends them all when the block ends.

    Args:
        folder: data folder.
        broker_url, database_url: None for the embedded ones.
        template: where the embedded ledger's migrated copy is kept.
        prefix: of the broker's names.
        settings: more settings, by their lower-case names.
    """

    def __init__(
        self,
        folder: Path,
        *,
        broker_url: str | None = None,
        database_url: str | None = None,
        template: Path | None = None,
        prefix: str = "simcourier",
        **settings: str,
    ) -> None:
        self.folder = folder
        self.mail_folder = folder / "mail"
        self.cloud_port = free_ports(1)[0]
        variables = {
            "data_dir": str(folder),
            "broker_prefix": prefix,
            "secret_key": SECRET,
            "email_from": "SimCourier <simcourier@example.org>",
            "lease_seconds": "3",
            "overdue_seconds": "2",
            "sweep_seconds": "0.5",
            "grace_seconds": "3",
            "local_cloud_port": str(self.cloud_port),
            "results_roots": "/",
        } | settings
        if broker_url is not None:
            variables["broker_url"] = broker_url
        if database_url is not None:
            variables["database_url"] = database_url
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("SIMCOURIER_")}
        self.environ |= {f"SIMCOURIER_{name.upper()}": value for name, value in variables.items()}
        self.processes: list[subprocess.Popen[bytes]] = []
        self._logs = 0
        self._template = template if database_url is None else None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._template is not None:
            migrated_copy(self._template, self.folder / "simcourier.db")
        use_database(self.settings)
        if self._template is None:
            call_command("migrate", verbosity=0)
        from ledger.definitions import define

        (self.folder / "cloud-key").write_text(KEY)
        define("local", name="Local cloud", token=f"127.0.0.1:{self.cloud_port}", config={"key": KEY})
        connections.close_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        if "PYTEST_CURRENT_TEST" not in os.environ:
            return
        for log in sorted(self.folder.glob("*.log")):  # pytest shows this where a test has failed
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-6000:]}")

    def simcourier(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        done = forked.run(arguments, self.environ)
        assert not check or done.returncode == 0, done.stderr
        return done

    def start(
        self,
        *arguments: str,
        dies_at: str | None = None,
        waits_at: tuple[str, Path] | None = None,
        without_root: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Start a role.

        Args:
            dies_at: it is killed there, see `tests.support.dies`.
            waits_at: it waits there once, as long as the file exists that it makes, see `tests.support.waits`.
            without_root: it may not read everybody's files.
        """
        module, words = "simcourier", list(arguments)
        if dies_at:
            module, words = "tests.support.dies", [dies_at, *arguments]
        elif waits_at:
            module, words = "tests.support.waits", [*map(str, waits_at), *arguments]
        self._logs += 1
        with (self.folder / f"{self._logs:02}-{arguments[0]}.log").open("wb") as log:
            process: subprocess.Popen[bytes]
            bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if without_root and os.geteuid() == 0 else []
            if bare or "PYTEST_CURRENT_TEST" not in os.environ:  # a benchmark looks at its memory and its time
                process = subprocess.Popen(
                    [*bare, sys.executable, "-m", module, *words],
                    cwd=ROOT, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                )  # fmt: skip
            else:
                process = forked.start(words, self.environ, log, log, module=module)
        self.processes.append(process)
        return process

    def start_cloud(self) -> subprocess.Popen[bytes]:
        """Start the local cloud and wait until it answers."""
        process = self.start(
            "local-cloud", "--folder", str(self.folder / "cloud"), "--key-file", str(self.folder / "cloud-key")
        )
        wait_until(lambda: answers(f"http://127.0.0.1:{self.cloud_port}/healthz"), "the local cloud answers")
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End a role by SIGTERM, as an operator does."""
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0

    @property
    def settings(self) -> Settings:
        """What the processes read from their environment."""
        return load(self.environ)

    def wait_ready(self) -> None:
        """Wait until the queues are declared."""
        engine = engine_of(self.settings)

        def declared() -> bool:
            try:
                engine.depths()
            except BrokerError:
                return False
            return True

        wait_until(declared, "the queues are declared")

    def publish(self, results: Path | str, **details: Any) -> str:
        """Publish as a simulator does; the event's id."""
        to = details.pop("to", "anna@example.org")
        backend = details.pop("backend", "local")
        published = publish(results, to=to, backend=backend, settings=self.settings, **details)
        assert published.state == "sent", published.reason
        return str(published.event_id)

    def send(self, body: bytes, largest: int = 1024 * 1024) -> None:
        """Publish a body as a client does that knows nothing of our rules."""
        topology = replace(self.settings.topology, max_bytes=largest)
        with connect(self.settings.broker_url.get_secret_value(), topology).publisher() as publisher:
            publisher.publish(Outgoing("simulation.completed.single", body, "somebody's"))

    def where(self, event_id: str) -> dict[str, Any] | None:
        """What ``simcourier where --json`` tells of a delivery, without a process for each look; None: nothing."""
        use_database(self.settings)
        from ledger.commands.common import print_json
        from ledger.lookup import find

        try:
            found = find(event_id)
            with contextlib.redirect_stdout(io.StringIO()) as told:
                print_json([view.as_json(self.settings.site_url) for view in found])
        except DatabaseError:  # it has no tables yet
            return None
        finally:
            connections.close_all()
        return dict(json.loads(told.getvalue())[0]) if found else None

    def wait_until_quiet(self) -> None:
        """Wait until no queue and no rung of the ladder holds a message."""
        engine = engine_of(self.settings)
        wait_until(
            lambda: not any(depth.ready + depth.held + depth.waiting for depth in engine.depths().values()),
            "all queues are empty",
        )

    def mails(self) -> list[EmailMessage]:
        """The mails that were written to files."""
        found = []
        for file in sorted(self.mail_folder.glob("*.eml")):
            mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
            assert isinstance(mail, EmailMessage)
            found.append(mail)
        return found

    def mails_about(self, event_id: str) -> list[EmailMessage]:
        """The mails that name this delivery."""
        return [mail for mail in self.mails() if event_id in text_of(mail)]

    def wait_for_mail(self, event_id: str, timeout: float = 120) -> EmailMessage:
        """The one mail about a delivery, once it is there."""
        wait_until(lambda: bool(self.mails_about(event_id)), f"a mail about {event_id}", timeout)
        mails = self.mails_about(event_id)
        assert len(mails) == 1
        return mails[0]


def text_of(mail: EmailMessage) -> str:
    """The text part."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def link_in(mail: EmailMessage) -> str:
    """The link that the text part carries."""
    links = [line for line in text_of(mail).splitlines() if line.startswith("http")]
    assert len(links) == 1, text_of(mail)
    return links[0]


def fetch(url: str) -> bytes:
    """What is behind a link."""
    with urllib.request.urlopen(url, timeout=120) as answer:
        return bytes(answer.read())


def unpacked(archive: bytes) -> dict[str, bytes]:
    """The results in an archive; what was made of them, summary and manifest, is held against its own rules."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        names = opened.namelist()
        made = [name for name in names if name.startswith("summary/")]
        assert names[-1] == "MANIFEST.sha256"
        assert made == names[len(names) - len(made) - 1 : -1], "what was made comes after the results"
        assert {"summary/report.html", "summary/summary.json", "summary/INFO.txt"} <= set(made)
        for line in opened.read("MANIFEST.sha256").decode().splitlines():
            if not line.startswith("\\"):
                digest, _, name = line.partition("  ")
                assert hashlib.sha256(opened.read(name)).hexdigest() == digest
        return {name: opened.read(name) for name in names if name not in {*made, "MANIFEST.sha256"}}


def files_below(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stored_archives(installation: Installation) -> Sequence[Path]:
    """The archives that the local cloud holds, also those that no link leads to."""
    return [path for path in (installation.folder / "cloud" / "files").glob("*/*") if path.name != "record.json"]


def answers(url: str) -> bool:
    """Somebody is there."""
    try:
        fetch(url)
    except (urllib.error.URLError, OSError):
        return False
    return True
