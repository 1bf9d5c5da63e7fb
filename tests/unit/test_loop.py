"""The loop on a broker that fails at the worst moments."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from consumer.loop import Ack, Later, Loop, Result
from consumer.stop import Stop
from messaging.engine import BrokerUnavailable, Consumer, Engine, Outgoing, Publisher, QueueDepth, Refused, Taken
from messaging.topology import Topology
from tests.support.scratch import wait_until

TOLD = Outgoing("link.ready", b"{}", "told")


class Broker(Engine, Consumer):
    """Hands out ``messages`` and writes down what is done with them, in order."""

    topology = Topology()

    def __init__(self, messages: int, *, publish_fails: bool = False, refuses: bool = False) -> None:
        self.left = messages
        self.publish_fails = publish_fails
        self.refuses = refuses
        self.done: list[str] = []
        self.holding = 0
        self.most = 0
        self._woken = threading.Event()

    @property
    def description(self) -> str:
        return "a broker of this test"

    def reach(self) -> None:
        pass

    def publisher(self) -> Publisher:
        return self

    def consumer(self, queues: Sequence[str], *, prefetch: int = 1) -> Consumer:
        del queues, prefetch
        return self

    def depths(self) -> dict[str, QueueDepth]:
        return {}

    def take(self, timeout: float) -> Taken | None:
        if not self.left:
            self.pause(min(timeout, 0.05))
            return None
        self.left -= 1
        self.holding += 1
        self.most = max(self.most, self.holding)
        return Taken("q", b"", f"m{self.left}", {}, redelivered=False, user_id=None, receipt=None)

    def pause(self, timeout: float) -> None:
        self._woken.wait(min(timeout, 0.05))
        self._woken.clear()

    def interrupt(self) -> None:
        self._woken.set()

    def publish(self, message: Outgoing) -> None:
        if self.publish_fails:
            raise BrokerUnavailable("away")
        if self.refuses:
            raise Refused("a queue is full")
        self.done.append(f"publish {message.message_id}")

    def _settled(self, how: str) -> None:
        self.holding -= 1
        self.done.append(how)

    def ack(self, taken: Taken) -> None:
        self._settled(f"ack {taken.message_id}")

    def wait(self, taken: Taken, delay: float) -> None:
        del delay
        self._settled(f"wait {taken.message_id}")

    def give_back(self, taken: Taken) -> None:
        self._settled(f"give back {taken.message_id}")

    def bury(self, taken: Taken, reason: str) -> None:
        del reason
        self._settled(f"bury {taken.message_id}")

    def adopt(self, taken: Taken) -> None:
        self.done.append(f"adopt {taken.message_id}")

    def close(self) -> None:
        self.done.append("close")


def run(broker: Broker, handler: Callable[[Taken], Result], *, until: Callable[[], bool], concurrency: int = 1) -> None:
    """Run a loop until ``until`` holds, then stop it; it must end by itself."""
    stop = Stop(grace=0.1)
    loop = Loop("test", broker, ["q"], handler, stop, concurrency=concurrency)
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    reached = threading.Event()
    for _ in range(4000):
        if until():
            reached.set()
            break
        threading.Event().wait(0.01)
    stop.request()
    thread.join(60)

    assert reached.is_set()
    assert not thread.is_alive()


def test_what_is_to_be_told_is_published_before_the_message_is_acknowledged() -> None:
    broker = Broker(1)

    run(broker, lambda _: Result(Ack(), publish=[TOLD]), until=lambda: len(broker.done) == 2)

    assert broker.done == ["publish told", "ack m0", "close"]


def test_a_message_whose_outcome_the_broker_refuses_comes_back() -> None:
    broker = Broker(1, refuses=True)

    run(broker, lambda _: Result(Ack(), publish=[TOLD]), until=lambda: bool(broker.done))

    assert broker.done == ["wait m0", "close"]


def test_a_stop_ends_the_loop_although_a_result_cannot_be_published() -> None:
    broker = Broker(1, publish_fails=True)
    handled = threading.Event()

    def handler(_: Taken) -> Result:
        handled.set()
        return Result(Ack(), publish=[TOLD])

    run(broker, handler, until=handled.is_set)

    assert broker.done == ["close"]


@pytest.mark.parametrize("error", [ValueError("a bug"), SystemExit(3)])
def test_whatever_a_handler_raises_its_message_comes_back_and_the_next_one_is_taken(error: BaseException) -> None:
    broker = Broker(2)

    def handler(taken: Taken) -> Result:
        if taken.message_id == "m1":
            raise error
        return Result(Ack())

    run(broker, handler, until=lambda: len(broker.done) == 2)

    assert broker.done == ["wait m1", "ack m0", "close"]


def test_no_more_messages_are_held_than_there_are_slots() -> None:
    broker = Broker(20)

    run(broker, lambda _: Result(Later(1)), until=lambda: len(broker.done) == 20, concurrency=3)

    assert broker.most <= 3


def test_a_loop_shows_signs_of_life_while_it_serves_its_broker_and_only_then() -> None:
    class Away(Broker):
        away = True

        def take(self, timeout: float) -> Taken | None:
            if self.away:
                self.done.append("away")
                raise BrokerUnavailable("away")
            return super().take(timeout)

    broker = Away(0)
    beats: list[bool] = []
    stop = Stop(grace=0.1)
    loop = Loop("test", broker, ["q"], lambda _: Result(Ack()), stop, alive=lambda: beats.append(broker.away))
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    wait_until(lambda: broker.done.count("away") == 2, "it was asked twice")
    broker.away = False
    wait_until(lambda: bool(beats), "it shows signs of life")
    stop.request()
    thread.join(60)

    assert not any(beats)
