"""The broker: whether it lets us in, what is declared there, what lies in the queues."""

from __future__ import annotations

from collections.abc import Iterator

from messaging.cli import engine_of
from messaging.engine import QueueDepth
from messaging.rabbitmq_declare import exchanges, queues
from messaging.rabbitmq_look import Look, Looker
from messaging.settings import Settings
from messaging.sqlite import SqliteEngine
from simcourier.doctor.findings import Finding, Mark

SHOWN = 3


def broker(settings: Settings) -> Iterator[Finding]:
    """The embedded one, or RabbitMQ."""
    engine = engine_of(settings)
    if isinstance(engine, SqliteEngine):
        engine.reach()
        if not engine.path.exists():
            yield Finding("broker", Mark.OK, "The embedded broker is made by the first worker that starts.")
            return
        depths = engine.depths()
        yield Finding("broker", Mark.OK, f"{engine.description}.")
    else:
        look = Looker(settings.broker_url.get_secret_value(), settings.topology).look()
        yield Finding("broker", Mark.OK, f"{engine.description}, {look.version}, as {look.user!r}.")
        yield from _declared(settings, look)
        yield Finding(
            "consumer timeout",
            Mark.NOTE,
            "RabbitMQ does not tell it to its clients. Of a delivery that takes longer, a second worker gets the "
            "message too, and lets it wait.",
            "Look it up there (milliseconds): rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).'",
        )
        if look.missing:
            return
        depths = engine.depths()
    yield _queues(depths)


def _declared(settings: Settings, look: Look) -> Iterator[Finding]:
    name = "queues"
    expected = len(exchanges(settings.topology)) + len(queues(settings.topology))
    if look.missing:
        yield Finding(
            name,
            Mark.WARNING,
            f"{len(look.missing)} of {expected} exchanges and queues are not there: {_some(look.missing)}.",
            "Start a worker, it declares them; until then events wait on the simulators' machines.",
        )
    if look.other:
        yield Finding(
            name,
            Mark.TROUBLE,
            f"Made with other arguments than ours: {_some(look.other)}.",
            "Let them run empty and delete them (the next worker makes them anew), or choose another "
            "SIMCOURIER_BROKER_PREFIX.",
        )
    if look.undeclared:
        yield Finding(
            name,
            Mark.WARNING,
            f"Their arguments cannot be compared. {look.undeclared}",
            f"Worker and email sender need the right to configure '{settings.broker_prefix}.*'; a simulator's host "
            "does not.",
        )
    elif not look.missing and not look.other:
        yield Finding(name, Mark.OK, f"All {expected} exchanges and queues are there, with our arguments.")
    if look.unpublished:
        yield Finding(
            "publishing",
            Mark.TROUBLE,
            look.unpublished,
            f"Give the user {look.user!r} the right to write '{settings.topology.exchange}'.",
        )


def _queues(depths: dict[str, QueueDepth]) -> Finding:
    waiting = [
        f"{queue} {depth.ready + depth.held} (and {depth.waiting} for their time)"
        for queue, depth in depths.items()
        if depth.ready + depth.held + depth.waiting
    ]
    return Finding("messages", Mark.OK, ", ".join(waiting) if waiting else "All queues are empty.")


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
