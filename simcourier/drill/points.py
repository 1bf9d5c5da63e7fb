"""Every fault point on the way of a result, and how to make a process pass it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from simcourier.drill.stage import LEASE_SECONDS, Stage

Provoke = Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Point:
    """A step's boundary.

    Args:
        who: passes it.
        about: what has just happened there.
        provoke: publishes something on whose way it lies.
        rabbitmq_only: with the embedded broker, the two steps are one transaction.
    """

    who: str
    about: str
    provoke: Provoke
    rabbitmq_only: bool = False


def _one(stage: Stage) -> None:
    stage.publish()


def _failing(stage: Stage) -> None:
    stage.publish(link=False)


def _waiting(stage: Stage) -> None:
    stage.orders.give("delivery.storing", "full")
    stage.publish()


def _slow(stage: Stage) -> None:
    stage.orders.give("delivery.storing", "slow", 2 * LEASE_SECONDS)
    stage.publish()


def _forgotten(stage: Stage) -> None:
    """Its worker stands still with the message in hand: only the sweep can wake it."""
    stage.orders.give("delivery.packaging", "hang", 5 * LEASE_SECONDS)
    stage.publish()


def _refused_mail(stage: Stage) -> None:
    answers = iter(["451 4.3.0 try again later"])
    stage.mailbox.answer_data = lambda: next(answers, "")
    stage.publish()


WORKER, RECORDER, SENDER = "worker", "recorder", "email sender"

POINTS: Mapping[str, Point] = {
    "recorder.taken": Point(RECORDER, "has taken the event", _one),
    "recorder.recorded": Point(RECORDER, "has written it down as RECEIVED", _one),
    "recorder.handled": Point(RECORDER, "is about to acknowledge it", _one),
    "recorder.settled": Point(RECORDER, "has acknowledged it", _one),
    "results.taken": Point(WORKER, "has taken the wake-up", _one),
    "delivery.claimed": Point(WORKER, "has claimed the delivery", _one),
    "delivery.collecting": Point(WORKER, "is about to look at the results", _one),
    "delivery.packaging": Point(WORKER, "has found the files", _one),
    "delivery.packing": Point(WORKER, "has packed some of them", _one),
    "delivery.reading": Point(WORKER, "has read some of them for the summary", _one),
    "delivery.packed": Point(WORKER, "has packed them", _one),
    "delivery.storing": Point(WORKER, "has noted where the archive goes", _one),
    "lease.renewed": Point(WORKER, "has renewed its lease meanwhile", _slow),
    "delivery.checkpointed": Point(WORKER, "has noted how far the upload is", _one),
    "delivery.stored": Point(WORKER, "has the service's confirmation", _one),
    "delivery.linking": Point(WORKER, "has noted the confirmation", _one),
    "delivery.linked": Point(WORKER, "has the link", _one),
    "delivery.finished": Point(WORKER, "has written DELIVERED and the mails that are owed", _one),
    "delivery.failed": Point(WORKER, "has written FAILED and the mails that are owed", _failing),
    "delivery.waits": Point(WORKER, "has written WAITING after a failure that may pass", _waiting),
    "results.handled": Point(WORKER, "is about to publish what is to be told", _one),
    "results.published": Point(WORKER, "has published link.ready", _one),
    "broker.copied": Point(WORKER, "has put a copy into the wait ladder", _waiting, rabbitmq_only=True),
    "results.settled": Point(WORKER, "has acknowledged the wake-up", _one),
    "sweep.woken": Point("sweep", "has woken an overdue delivery", _forgotten),
    "email-sender.taken": Point(SENDER, "has taken link.ready", _one),
    "mail.claimed": Point(SENDER, "has claimed the mail", _one),
    "mail.data": Point(SENDER, "is about to give the mail to the server", _one),
    "mail.accepted": Point(SENDER, "has given the mail to the server", _one),
    "mail.sent": Point(SENDER, "is about to note that it is sent", _one),
    "mail.noted": Point(SENDER, "has noted that it is sent", _one),
    "mail.postponed": Point(SENDER, "has noted that the server refused it for now", _refused_mail),
    "email-sender.handled": Point(SENDER, "is about to acknowledge link.ready", _one),
    "email-sender.settled": Point(SENDER, "has acknowledged link.ready", _one),
}


def points_of(stage: Stage) -> dict[str, Point]:
    """The points that are passed on this stage's engine."""
    return {name: one for name, one in POINTS.items() if not (one.rabbitmq_only and stage.services.embedded)}
