"""Names, routes and limits, and the arguments that RabbitMQ gets for them."""

from __future__ import annotations

import pytest

from messaging.messages import Lane
from messaging.rabbitmq_declare import dead_arguments, wait_arguments, work_arguments
from messaging.topology import DEAD_DELIVERY_LIMIT, DELIVERY_LIMIT, Topology, wake_key
from tests.support.broker import queue_names


def test_no_two_things_have_one_name() -> None:
    names = queue_names(Topology())

    assert len(names) == len(set(names))


def test_two_prefixes_have_no_name_in_common() -> None:
    one, other = (Topology(prefix=prefix) for prefix in ("one", "other"))

    assert not set(queue_names(one)) & set(queue_names(other))
    assert not {one.exchange, one.dead_exchange} & {other.exchange, other.dead_exchange}


@pytest.mark.parametrize("lane", Lane)
def test_an_event_goes_to_its_lane_and_the_recorder_and_a_wake_up_to_the_lane(lane: Lane) -> None:
    topology = Topology()

    assert set(topology.bindings[f"simulation.completed.{lane}"]) == {topology.lane(lane), topology.recorder}
    assert topology.bindings[wake_key(lane)] == (topology.lane(lane),)


def test_everything_bound_is_a_queue_that_is_consumed_and_nothing_is_published_to_the_dead_letters() -> None:
    topology = Topology()
    bound = {queue for queues in topology.bindings.values() for queue in queues}

    assert bound == set(topology.queues) - {topology.dead}


@pytest.mark.parametrize(
    ("delay", "rung"),
    [(0, 1), (0.5, 1), (1, 1), (4.9, 1), (5, 5), (29, 5), (30, 30), (3599, 600), (3600, 3600), (1e6, 3600)],
)
def test_a_wait_takes_the_longest_rung_that_is_not_too_long(delay: float, rung: float) -> None:
    assert Topology().rung(delay) == rung


@pytest.mark.parametrize("delay", [45, 100, 700, 4000])
def test_walking_down_the_rungs_ends_close_to_the_time_asked_for(delay: float) -> None:
    topology = Topology()
    left, steps = float(delay), 0
    while left > 0:
        left -= topology.rung(left)
        steps += 1

    assert left > -topology.waits[0]
    assert steps <= 20


def test_names_of_the_wait_ladder_tell_the_delay() -> None:
    assert Topology().wait_queue("q", 3600.0) == "q.wait.3600s"
    assert Topology().wait_queue("q", 0.2) == "q.wait.0.2s"


def test_a_work_queue_refuses_rather_than_drops_and_sets_aside_rather_than_loses() -> None:
    topology = Topology(max_length=7)
    arguments = work_arguments(topology)

    assert arguments == {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-max-length": 7,
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": topology.dead_exchange,
        "x-dead-letter-strategy": "at-least-once",
    }


def test_the_dead_letters_have_nowhere_else_to_go_and_no_limit_within_reach() -> None:
    assert dead_arguments() == {"x-queue-type": "quorum", "x-delivery-limit": DEAD_DELIVERY_LIMIT}


def test_a_rung_sends_back_to_its_queue_after_its_time() -> None:
    arguments = wait_arguments("work", 0.2)

    assert arguments["x-message-ttl"] == 200
    assert (arguments["x-dead-letter-exchange"], arguments["x-dead-letter-routing-key"]) == ("", "work")
    assert arguments["x-dead-letter-strategy"] == "at-least-once"
    assert arguments["x-overflow"] == "reject-publish"  # without it, at-least-once silently becomes at-most-once
