"""A delivery as tasks of a task queue: the packing, plugin and mail of SimCourier, and the rows that it leaves behind.

What is left out is what SimCourier does besides: lease, fence, checkpoints, the row before the work, the sweep. Each
change of the state is a transaction, so that a task that comes again (acknowledgement is late) knows what is done.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any
from uuid import UUID

import ledger
from backends.contract import Backend
from backends.http import session
from backends.registry import build
from backends.suite_doubles import SampleProgress
from consumer.collect import collect
from consumer.package import archive_name
from consumer.packing.growing import GrowingArchive
from messaging.messages import digest, parse_event
from messaging.settings import Settings, load

LEASE_SECONDS = 60.0


class Steps:
    """What the tasks of one process do.

    Args:
        settings: data folder and database.
    """

    def __init__(self, settings: Settings) -> None:
        ledger.setup(settings)
        from consumer.mail.render import Renderer
        from consumer.mail.transports import FileTransport
        from ledger.api import Notices

        self._folder = settings.data_dir / "archives"
        self._worker = f"worker {os.getpid()}"
        self._http = session()
        self._site = settings.site
        self._backends: dict[str, tuple[Backend[Any], int]] = {}
        self._notices = Notices(lease=LEASE_SECONDS, overdue=LEASE_SECONDS)
        self._renderer = Renderer(settings.email_from)
        self._transport = FileTransport(settings.data_dir / "mail")

    def deliver(self, body: str) -> str | None:
        """From the event to the link; the delivery that a mail is owed for, None: it was delivered before."""
        from django.db import transaction
        from django.db.models.functions import Now

        from consumer.making import Making
        from consumer.store import FileArchive
        from ledger.models import Delivery, Notification, Placement, Step
        from ledger.states import Kind, State, StepKind

        event = parse_event(body.encode())
        data = event.data
        backend, keep_days = self._backend(data.backend)
        mine = Delivery.objects.filter(id=event.id)
        received = Delivery(
            id=event.id,
            body=body.encode(),
            body_digest=digest(body.encode()),
            lane=data.lane.value,
            simulation_id=data.simulation_id,
            title=data.title,
            backend=data.backend,
            state=State.WORKING,
            worker=self._worker,
            received_at=Now(),
            started_at=Now(),
        )
        Delivery.objects.bulk_create([received], ignore_conflicts=True)
        if mine.values_list("state", flat=True).get() == State.DELIVERED:
            return None

        snapshot = collect(data.results, ())
        folder = self._folder / str(event.id)
        folder.mkdir(parents=True, exist_ok=True)
        growing = GrowingArchive(folder / "archive.part", name=archive_name(data.title, data.simulation_id), key="")
        with Making(snapshot, folder, growing, ensure=lambda: None) as making:
            packed = making.result().packed
        step = partial(Step, delivery_id=event.id, worker=self._worker, at=Now())
        with transaction.atomic():
            mine.update(archive_name=packed.name, archive_size=packed.size, archive_sha256=packed.sha256, generation=1)
            step(what=StepKind.PACKED, size=packed.size, sha256=packed.sha256).save()

        key = f"{event.id}/1/{packed.name}"
        place = Placement.objects.create(
            delivery_id=event.id, backend=data.backend, generation=1, key=key, placed_at=datetime.now(UTC)
        )
        archive = FileArchive(packed.path, packed.name, key, packed.size, packed.sha256)
        stored = backend.store(archive, SampleProgress())
        with transaction.atomic():
            record = stored.model_dump(mode="json")
            mine.update(stored=record, stored_backend=data.backend)
            Placement.objects.filter(id=place.id).update(stored=record)
            step(what=StepKind.STORED, size=stored.size, detail=data.backend).save()

        link = backend.link(stored, datetime.now(UTC) + timedelta(days=keep_days))
        with transaction.atomic():
            mine.update(
                state=State.DELIVERED, link=link.url, link_expires=link.expires, keep_days=keep_days, ended_at=Now()
            )
            step(what=StepKind.LINKED).save()
            for recipient in data.recipients:
                Notification.objects.create(
                    delivery_id=event.id, recipient=recipient, kind=Kind.DELIVERED, created_at=Now(), due_at=Now()
                )
        shutil.rmtree(folder)
        return str(event.id)

    def mail(self, delivery: str) -> None:
        """Send what is owed."""
        while notice := self._notices.claim_next(UUID(delivery)):
            mail = self._renderer.render(notice, datetime.now(UTC))
            self._transport.send(notice.id, mail, partial(self._notices.data_starts, notice))
            self._notices.sent(notice)

    def _backend(self, identifier: str) -> tuple[Backend[Any], int]:
        if identifier not in self._backends:
            from ledger.api import definition

            chosen = definition(identifier)
            token = chosen.token.get_secret_value()
            plugin = build(identifier, token, chosen.config_values(), self._http, self._site)
            self._backends[identifier] = plugin, chosen.keep_days
        return self._backends[identifier]


@cache
def steps() -> Steps:
    """Those of this process, with the settings from its environment; made by its first task."""
    settings = load(os.environ)
    Path(settings.data_dir).mkdir(parents=True, exist_ok=True)
    return Steps(settings)
