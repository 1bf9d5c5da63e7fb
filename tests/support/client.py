"""A process that uses a broker until it has done its part or is killed.

python -m tests.support.client URL PREFIX publish COUNT      prints each id once it is confirmed
python -m tests.support.client URL PREFIX hold COUNT         takes, prints the ids, keeps them
python -m tests.support.client URL PREFIX drain COUNT        takes, prints, acks until its input ends and nothing comes
"""

from __future__ import annotations

import os
import select
import sys

import structlog

from messaging.connect import connect
from messaging.engine import Engine, Taken
from messaging.messages import Lane
from messaging.topology import Topology
from tests.support.broker import WAITS, outgoing


def main(url: str, prefix: str, part: str, count: int) -> None:
    """Play one part; logs go to standard error, out of the way."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    engine = connect(url, Topology(prefix=prefix, waits=WAITS))
    if part == "publish":
        publish(engine, count)
    elif part == "hold":
        hold(engine, count)
    else:
        drain(engine, count)


def publish(engine: Engine, count: int) -> None:
    """Publish wake-ups, then stay as if more were to come."""
    with engine.publisher() as publisher:
        for number in range(count):
            publisher.publish(outgoing(f"m{number}"))
            say(f"m{number}")
        sys.stdin.read()


def hold(engine: Engine, count: int) -> None:
    """Take and do not settle."""
    with engine.consumer([engine.topology.lane(Lane.SINGLE)], prefetch=count) as consumer:
        for _ in range(count):
            taken = consumer.take(60)
            assert taken is not None
            say(taken.message_id)
        while True:
            consumer.pause(60)


def drain(engine: Engine, prefetch: int) -> None:
    """Work off; says ``+id`` when a message is taken and ``-id`` right before it is settled."""
    held: list[Taken] = []
    with engine.consumer([engine.topology.lane(Lane.SINGLE)], prefetch=prefetch) as consumer:
        say("ready")
        while True:
            published = all_is_published()
            taken = consumer.take(1)
            if taken is not None:
                say(f"+{taken.message_id}")
                held.append(taken)
            elif published:
                break
            if len(held) == prefetch:
                for one in held:
                    say(f"-{one.message_id}")
                    consumer.ack(one)
                held.clear()
        for one in held:
            say(f"-{one.message_id}")
            consumer.ack(one)


def all_is_published() -> bool:
    """Nobody holds the other end of our input any more."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def say(text: str) -> None:
    """One line at once, whoever kills us next."""
    os.write(1, text.encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
