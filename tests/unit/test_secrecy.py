"""Secrets in use are blacked out wherever something is told."""

from __future__ import annotations

import pytest

from messaging import secrecy
from messaging.secrecy import hidden, hide, hide_password


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrecy, "_known", {})


def test_a_secret_is_blacked_out_also_as_it_stands_in_an_address() -> None:
    hide_password("amqp://user:p%40ssw%2Ford-123@host/vhost")

    assert hidden("p@ssw/ord-123 p%40ssw%2Ford-123 host") == "*** *** host"


def test_of_two_secrets_the_longer_one_goes_first() -> None:
    hide("0123456789", "0123456789abcdef")

    assert hidden("key 0123456789abcdef.") == "key ***."


def test_short_words_are_left_since_they_may_be_anything() -> None:
    hide("guest", "", "password")

    assert hidden("The user guest has no password.") == "The user guest has no password."


def test_what_a_plugin_calls_secret_is_known_and_the_rest_is_not() -> None:
    from backends.registry import secret_values

    config = {"key": "canary-key-123", "server": "https://files.example.org"}
    assert secret_values("local", "10.10.160.10:8976", config) == ["canary-key-123"]
    assert secret_values("seafile-x", "", {"token": "canary-token", "repoid": "a" * 36}) == ["canary-token"]
