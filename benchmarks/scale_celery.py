"""The Celery application of benchmarks/scale.py: ``celery -A benchmarks.scale_celery worker -Q NAME``."""

from __future__ import annotations

import os

from celery import Celery
from kombu import Exchange, Queue

from benchmarks.scale_steps import steps

DELIVERIES, MAILS = "celery.deliveries", "celery.mails"

app = Celery("scale", broker=os.environ["SCALE_BROKER_URL"])
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    task_ignore_result=True,
    task_default_queue=DELIVERIES,
    task_queues=[
        Queue(name, Exchange(name, type="direct"), routing_key=name, queue_arguments={"x-queue-type": "quorum"})
        for name in (DELIVERIES, MAILS)
    ],
    task_routes={"mail": {"queue": MAILS, "routing_key": MAILS}},
    worker_enable_remote_control=False,
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
)


def _deliver(body: str) -> None:
    delivery = steps().deliver(body)
    if delivery is not None:
        mail.delay(delivery)


def _mail(delivery: str) -> None:
    steps().mail(delivery)


deliver = app.task(name="deliver")(_deliver)
mail = app.task(name="mail")(_mail)
