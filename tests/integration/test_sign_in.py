"""Guessing passwords of the site's accounts, through Django's own client."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from django.test import override_settings

from messaging.settings import Settings

if TYPE_CHECKING:
    from django.test import Client

LOGIN = "/admin/login/"
PASSWORD = "a long password of the tests"
TOO_MANY = "Too many attempts to sign in. Wait 15 minutes and try again."
WRONG = "Please enter the correct username and password for a staff account."


@pytest.fixture
def client(sqlite_ledger: Settings) -> Iterator[Client]:
    from django.contrib.auth.models import User
    from django.test import Client

    del sqlite_ledger
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):  # a quick one
        User.objects.create_superuser("admin", password=PASSWORD)
        User.objects.create_superuser("berta", password=PASSWORD)
        yield Client(headers={"host": "localhost"})


def attempt(client: Client, name: str, password: str, address: str = "192.0.2.7") -> str:
    """What the page says; empty: signed in."""
    answer = client.post(LOGIN, {"username": name, "password": password}, REMOTE_ADDR=address)
    if answer.status_code == 302:
        client.logout()
        return ""
    page = answer.content.decode()
    return TOO_MANY if TOO_MANY in page else WRONG if WRONG in page else page


def test_after_five_wrong_passwords_the_right_one_does_not_help_from_there(client: Client) -> None:
    assert [attempt(client, "admin", f"guess {number}") for number in range(5)] == [WRONG] * 5

    assert attempt(client, "admin", PASSWORD) == TOO_MANY
    assert attempt(client, "ADMIN", PASSWORD) == TOO_MANY
    assert attempt(client, "berta", PASSWORD) == ""
    assert attempt(client, "admin", PASSWORD, "198.51.100.1") == "", "the account's owner is elsewhere"


def test_an_address_that_tries_many_accounts_is_stopped(client: Client) -> None:
    told = [attempt(client, f"user {number}", "Spring2026!") for number in range(31)]

    assert told == [WRONG] * 30 + [TOO_MANY]
    assert attempt(client, "berta", PASSWORD) == TOO_MANY
    assert attempt(client, "berta", PASSWORD, "192.0.2.8") == ""


def test_an_account_that_is_tried_from_many_addresses_is_closed_for_a_while(client: Client) -> None:
    told = [attempt(client, "admin", "guess", f"198.51.100.{number}") for number in range(61)]

    assert told == [WRONG] * 60 + [TOO_MANY]


def test_a_network_of_version_6_counts_as_one_address(client: Client) -> None:
    for number in range(5):
        attempt(client, "admin", "guess", f"2001:db8::{number:x}")

    assert attempt(client, "admin", PASSWORD, "2001:db8::ffff") == TOO_MANY
    assert attempt(client, "admin", PASSWORD, "2001:db8:0:1::1") == ""


def test_signing_in_is_no_guess(client: Client) -> None:
    for _ in range(20):
        assert attempt(client, "berta", PASSWORD) == ""
        assert attempt(client, "admin", PASSWORD) == ""
    assert attempt(client, "admin", "mistyped") == WRONG
    assert attempt(client, "admin", PASSWORD) == ""


def test_the_time_is_over_after_a_quarter_of_an_hour(client: Client) -> None:
    from ledger.models import SignInTries
    from ledger.work import from_now

    for _ in range(5):
        attempt(client, "admin", "guess")
    SignInTries.objects.update(since=from_now(-840))
    assert attempt(client, "admin", PASSWORD) == TOO_MANY
    SignInTries.objects.update(since=from_now(-901))

    assert attempt(client, "admin", PASSWORD) == ""


def test_many_guesses_at_once_are_no_more_guesses(client: Client) -> None:
    from django.db import connections
    from django.test import Client

    del client

    def guess(number: int) -> str:
        try:
            return attempt(Client(headers={"host": "localhost"}), "admin", f"guess {number}")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(guess, range(12)))

    assert sorted(told) == sorted([WRONG] * 5 + [TOO_MANY] * 7)


def test_without_a_proxy_in_the_settings_nobody_is_believed_to_come_from_elsewhere(client: Client) -> None:
    for number in range(5):
        client.post(LOGIN, {"username": "admin", "password": "guess"}, REMOTE_ADDR="127.0.0.1",
                    headers={"x-forwarded-for": f"10.0.0.{number}"})  # fmt: skip

    assert attempt(client, "admin", PASSWORD, "127.0.0.1") == TOO_MANY


def test_without_a_proxy_in_the_settings_nobody_is_believed_how_a_request_came(client: Client) -> None:
    with override_settings(SECURE_SSL_REDIRECT=True, SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https")):
        assert client.get(LOGIN, headers={"x-forwarded-proto": "http"}).status_code == 200
        with override_settings(SIMCOURIER_PROXIES=("127.0.0.1",)):
            assert client.get(LOGIN, headers={"x-forwarded-proto": "http"}).status_code == 301


@override_settings(SIMCOURIER_PROXIES=("127.0.0.1", "::1"))
def test_only_a_proxy_of_ours_says_where_somebody_comes_from(client: Client) -> None:
    for number in range(5):
        client.post(LOGIN, {"username": "admin", "password": "guess"}, REMOTE_ADDR="192.0.2.7",
                    headers={"x-forwarded-for": f"10.0.0.{number}"})  # fmt: skip
    assert attempt(client, "admin", PASSWORD, "192.0.2.7") == TOO_MANY, "it is no proxy, whatever it says"

    for number in range(5):
        client.post(LOGIN, {"username": "admin", "password": "guess"}, REMOTE_ADDR="127.0.0.1",
                    headers={"x-forwarded-for": f"10.0.0.{number}, 203.0.113.9"})  # fmt: skip
    assert attempt(client, "admin", PASSWORD, "203.0.113.9") == TOO_MANY, "the proxy's own words are the last"
    assert attempt(client, "admin", PASSWORD, "203.0.113.10") == ""


def test_neither_names_nor_addresses_nor_passwords_are_kept_or_logged(
    client: Client, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    from ledger.models import SignInTries

    attempt(client, "canary-name", "canary-password")

    kept = str(list(SignInTries.objects.values()))
    told = caplog.text + capsys.readouterr().out
    assert "canary" not in kept + told
    assert "192.0.2.7" not in kept
    assert "sign_in.refused" in told
