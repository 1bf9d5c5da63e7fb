"""Puts a program's `consumer.listener` together."""

from __future__ import annotations

from functools import partial

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from consumer.listener import Listener, Page, health, readiness
from consumer.metrics import REGISTRY
from consumer.pulse import Pulse
from consumer.surroundings import Surroundings
from ledger.api import reachable
from messaging.engine import BrokerError, Engine
from messaging.settings import PREFIX, Settings


def listener(settings: Settings, field: str, engine: Engine, pulse: Pulse) -> Listener:
    """The one that the setting ``field`` asks for; it listens once it is entered.

    Raises:
        CannotListen: nothing can listen there.
    """
    surroundings = Surroundings(settings.data_dir, engine)
    pages = {
        "/metrics": Page(partial(_metrics, surroundings), private=True),
        "/healthz": Page(partial(health, pulse.silence)),
        "/readyz": Page(partial(readiness, {"broker": partial(_reaches, engine), "ledger": reachable})),
    }
    token = settings.metrics_token.get_secret_value() if settings.metrics_token else ""
    return Listener(getattr(settings, field), f"{PREFIX}{field.upper()}", pages, token)


def _metrics(surroundings: Surroundings) -> tuple[int, str, bytes]:
    around = CollectorRegistry()
    around.register(surroundings)
    return 200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY) + generate_latest(around)


def _reaches(engine: Engine) -> bool:
    try:
        engine.reach()
    except BrokerError:
        return False
    return True
