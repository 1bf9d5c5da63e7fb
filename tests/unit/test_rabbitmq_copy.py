"""Headers of RabbitMQ messages: what is ours, what is the broker's, and whose word counts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pika
import pytest

from messaging.engine import DEATH_HEADER, QUEUE_HEADER, REASON_HEADER, Taken
from messaging.rabbitmq_copy import copy_properties, properties_for, read_headers, read_user

EXPIRED = {"reason": "expired", "queue": "q.wait.1s", "count": 2, "time": datetime(2026, 1, 1, tzinfo=UTC)}
LIMIT = {"reason": "delivery_limit", "queue": "q", "count": 1, "time": datetime(2026, 1, 1, tzinfo=UTC)}


def properties(headers: dict[str, object], user: str | None = "worker") -> pika.BasicProperties:
    return pika.BasicProperties(headers=headers, user_id=user)


def taken(properties: pika.BasicProperties) -> Taken:
    return Taken("q", b"", "m", read_headers(properties, dead=False), False, read_user(properties, "worker"), None)


def test_marks_of_the_broker_are_not_ours() -> None:
    found = read_headers(
        properties({"a": "b", "x-death": [EXPIRED], "x-delivery-count": 3, "x-first-death-queue": "q", "BCC": ["z"]}),
        dead=False,
    )

    assert found == {"a": "b"}


def test_a_dead_letter_tells_its_last_death_and_not_its_waits() -> None:
    found = read_headers(properties({"x-death": [LIMIT, EXPIRED]}), dead=True)

    assert found[QUEUE_HEADER] == "q"
    assert "delivery_limit" in found[REASON_HEADER]
    assert [death["reason"] for death in json.loads(found[DEATH_HEADER])] == ["delivery_limit", "expired"]


def test_what_bury_has_said_outlives_a_wait() -> None:
    said = {REASON_HEADER: "because", QUEUE_HEADER: "elsewhere"}

    assert read_headers(properties({**said, "x-death": [EXPIRED]}), dead=True) == said


@pytest.mark.parametrize("death", [LIMIT, {**EXPIRED, "queue": "q"}])
def test_what_the_broker_has_set_aside_has_its_reason_and_none_that_the_publisher_wrote(death: dict[str, Any]) -> None:
    forged = {REASON_HEADER: "All is well.", QUEUE_HEADER: "elsewhere", "x-simcourier-death": "[]"}

    found = read_headers(properties({**forged, "x-death": [death, EXPIRED]}), dead=True)

    assert found[QUEUE_HEADER] == "q"
    assert ("expired" if death["reason"] == "expired" else "delivery_limit") in found[REASON_HEADER]
    assert json.loads(found[DEATH_HEADER])[0]["reason"] == death["reason"]
    assert read_headers(properties({**forged}), dead=False) == {}


def test_headers_of_other_types_become_text() -> None:
    found = read_headers(properties({"n": 7, "t": True, "b": b"\xff", "l": [1, "x"]}), dead=False)

    assert found == {"n": "7", "t": "true", "b": "�", "l": '[1, "x"]'}


def test_a_copy_keeps_the_name_of_who_published_the_original() -> None:
    original = properties({}, user="simulator")
    copy = copy_properties(taken(original), original, "worker", {})

    assert copy.user_id == "worker"
    assert read_user(copy, "worker") == "simulator"


def test_only_our_own_word_about_others_counts() -> None:
    assert read_user(properties({"x-simcourier-user": "admin"}, user="simulator"), "worker") == "simulator"
    assert read_user(properties({"x-simcourier-user": "admin"}, user=None), "worker") is None


def test_a_message_of_nobody_stays_one() -> None:
    original = properties({}, user=None)
    copy = copy_properties(taken(original), original, "worker", {})

    assert read_user(copy, "worker") is None


def test_our_own_messages_need_no_such_mark() -> None:
    original = properties_for("m", "worker", {"a": "b"})

    assert copy_properties(taken(original), original, "worker", {}).headers == {"a": "b"}


def test_of_headers_without_end_those_are_kept_that_fit_and_the_reason_in_any_case() -> None:
    told = {"large": "x" * 40_000, **{f"h{number:03}": "y" * 1000 for number in range(60)}, REASON_HEADER: "because"}

    found = read_headers(properties({**told}), dead=True)

    assert found[REASON_HEADER] == "because"
    assert "large" not in found
    assert 20 < len(found) < 40
