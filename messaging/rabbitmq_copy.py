"""What of a RabbitMQ message is ours: headers in, headers out, and what the broker's dead-lettering says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pika

from messaging.engine import DEATH_HEADER, QUEUE_HEADER, REASON_HEADER, Outgoing, Taken
from messaging.messages import CONTENT_TYPE
from messaging.topology import is_wait

# Who published the original. A copy in the ladder carries the consumer's own user, since the broker allows no other;
# without this header a wait would turn a simulator's message into one of ours. Empty: nobody said. It is believed
# only where the broker vouches that the copy is ours.
USER_HEADER: Final = "x-simcourier-user"
# `x-death` of a dead letter that has been copied: under its own name the broker would read and extend it.
KEPT_DEATH_HEADER: Final = "x-simcourier-death"

# Of a message that nobody took in its time; sent back (`dead replay`), it has none.
EXPIRED: Final = (
    "It expired in its queue before anybody took it: its publisher (the AMQP property 'expiration') or a policy of the "
    "broker had given it a time to live."
)

# Bytes of other people's headers that are kept; a frame holds 128 KiB.
MOST_HEADERS: Final = 32 * 1024

# Written by the broker for the message at hand, or (CC, BCC) read by it as further destinations.
_NOT_OURS: Final = frozenset(
    {
        DEATH_HEADER,
        "x-delivery-count",
        "x-acquired-count",
        *(f"x-{which}-death-{what}" for which in ("first", "last") for what in ("exchange", "queue", "reason")),
        "x-opt-enqueue-timestamp",
        "CC",
        "BCC",
        USER_HEADER,
        KEPT_DEATH_HEADER,
    }
)
_OF_THE_DEAD: Final = frozenset({REASON_HEADER, QUEUE_HEADER})


def properties_of(message: Outgoing, user: str) -> pika.BasicProperties:
    """Properties of a message that we publish, of our own or again for somebody."""
    headers = dict(message.headers)
    if message.on_behalf_of is not None and message.on_behalf_of != user:
        headers[USER_HEADER] = message.on_behalf_of
    return properties_for(message.message_id, user, headers)


def properties_for(message_id: str, user: str, headers: Mapping[str, str]) -> pika.BasicProperties:
    """Properties of a message that we publish: persistent, under our own name."""
    return pika.BasicProperties(
        content_type=CONTENT_TYPE,
        delivery_mode=2,
        message_id=message_id,
        user_id=user,
        headers=dict(headers),
    )


def copy_properties(
    taken: Taken, original: pika.BasicProperties, user: str, marks: Mapping[str, str]
) -> pika.BasicProperties:
    """Properties of a copy of ``taken``, with ``marks`` among its headers."""
    headers = {name: value for name, value in taken.headers.items() if name != DEATH_HEADER} | dict(marks)
    if taken.user_id != user:
        headers[USER_HEADER] = taken.user_id or ""
    if DEATH_HEADER in taken.headers:
        headers[KEPT_DEATH_HEADER] = taken.headers[DEATH_HEADER]
    properties = properties_for(taken.message_id, user, headers)
    properties.content_type = original.content_type
    properties.content_encoding = original.content_encoding
    return properties


def read_user(properties: pika.BasicProperties, user: str) -> str | None:
    """Who published the original; ``user`` is who we are."""
    headers = properties.headers or {}
    if properties.user_id == user and USER_HEADER in headers:
        return _text(headers[USER_HEADER]) or None
    return properties.user_id or None


def read_id(properties: pika.BasicProperties) -> str:
    """The message's id; of bytes that are no text, what is text: never longer, since it must fit again."""
    told: str | bytes = properties.message_id or ""
    return told if isinstance(told, str) else told.decode("utf-8", "ignore")


def read_headers(properties: pika.BasicProperties, *, dead: bool) -> dict[str, str]:
    """The headers as texts; of a dead letter also why, from which queue, and the broker's `x-death` as JSON.

    What `bury` says of a message (why, from which queue) is heeded in a dead letter alone, and only where the broker
    itself says nothing: it says nothing of what `bury` published, and whoever published an event may have put our
    names among its headers.
    """
    raw: Mapping[str | bytes, Any] = properties.headers or {}  # bytes: a name that is no text
    unheeded = _NOT_OURS if dead else _NOT_OURS | _OF_THE_DEAD
    headers = _few(
        {name: _text(value) for name, value in raw.items() if isinstance(name, str) and name not in unheeded}
    )
    if not dead:
        return headers
    deaths = raw.get(DEATH_HEADER)
    final = _final(deaths)
    if final is not None:
        headers[DEATH_HEADER] = _text(deaths)
        headers[QUEUE_HEADER] = str(final.get("queue"))
        headers[REASON_HEADER] = EXPIRED if final.get("reason") == "expired" else _set_aside(final)
    elif KEPT_DEATH_HEADER in raw:
        headers[DEATH_HEADER] = _text(raw[KEPT_DEATH_HEADER])
    return headers


def _final(deaths: object) -> dict[str, Any] | None:
    """The broker's last word, the newest entry of `x-death`; expiry in the wait ladder is how every wait ends."""
    listed = deaths if isinstance(deaths, list) else []
    told = [one for one in listed if isinstance(one, dict)]
    return next((one for one in told if one.get("reason") != "expired" or not is_wait(str(one.get("queue")))), None)


def _set_aside(death: Mapping[str, Any]) -> str:
    return f"The broker has set it aside: {death.get('reason')}."


def _few(headers: Mapping[str, str]) -> dict[str, str]:
    """What of them travels on: the broker takes no copy whose headers, with ours, are larger than one frame."""
    room, kept = MOST_HEADERS, {}
    for name, value in sorted(headers.items(), key=lambda header: header[0] not in {REASON_HEADER, QUEUE_HEADER}):
        size = len(name) + len(value.encode(errors="replace"))
        if size <= room:
            room -= size
            kept[name] = value
    return kept


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    try:
        return json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):  # bytes as a name inside of a table, a list in a list in a ...
        return str(type(value))
