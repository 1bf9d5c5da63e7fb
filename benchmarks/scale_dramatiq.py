"""The Dramatiq actors of benchmarks/scale.py: ``dramatiq benchmarks.scale_dramatiq --queues NAME``."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.scale_steps import steps

DELIVERIES, MAILS = "dramatiq.deliveries", "dramatiq.mails"


class QuorumBroker(RabbitmqBroker):  # type: ignore[misc, unused-ignore] # installed for this benchmark alone
    """Its queues are quorum queues, as Celery's and ours."""

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return {**super()._build_queue_arguments(queue_name), "x-queue-type": "quorum"}


broker = QuorumBroker(url=os.environ["SCALE_BROKER_URL"], confirm_delivery=True)
dramatiq.set_broker(broker)


def _deliver(body: str) -> None:
    delivery = steps().deliver(body)
    if delivery is not None:
        mail.send(delivery)


def _mail(delivery: str) -> None:
    steps().mail(delivery)


deliver = dramatiq.actor(actor_name="deliver", queue_name=DELIVERIES)(_deliver)
mail = dramatiq.actor(actor_name="mail", queue_name=MAILS)(_mail)
