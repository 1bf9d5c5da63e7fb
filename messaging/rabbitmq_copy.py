"""What of a RabbitMQ message is ours: headers in, headers out, and what the broker's dead-lettering says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pika

from messaging.engine import DEATH_HEADER, QUEUE_HEADER, REASON_HEADER, Outgoing, Taken
from messaging.messages import CONTENT_TYPE

# Who published the original. A copy in the ladder carries the consumer's own user, since the broker allows no other;
# without this header a wait would turn a simulator's message into one of ours. Empty: nobody said. It is believed
# only where the broker vouches that the copy is ours.
USER_HEADER: Final = "x-simcourier-user"
# `x-death` of a dead letter that has been copied: under its own name the broker would read and extend it.
KEPT_DEATH_HEADER: Final = "x-simcourier-death"

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
    """The headers as texts; of a dead letter also why, from which queue, and the broker's `x-death` as JSON."""
    raw: Mapping[str | bytes, Any] = properties.headers or {}  # bytes: a name that is no text
    headers = _few(
        {name: _text(value) for name, value in raw.items() if isinstance(name, str) and name not in _NOT_OURS}
    )
    if not dead:
        return headers
    # Expiry in the wait ladder leaves entries too; they say nothing of why the message is here.
    deaths = raw.get(DEATH_HEADER)
    final = (
        [d for d in deaths if isinstance(d, dict) and d.get("reason") != "expired"] if isinstance(deaths, list) else []
    )
    if final:
        headers[DEATH_HEADER] = _text(deaths)
        headers.setdefault(QUEUE_HEADER, str(final[0].get("queue")))
        headers.setdefault(REASON_HEADER, f"The broker has set it aside: {final[0].get('reason')}.")
    elif KEPT_DEATH_HEADER in raw:
        headers[DEATH_HEADER] = _text(raw[KEPT_DEATH_HEADER])
    return headers


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
