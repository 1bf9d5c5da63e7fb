"""Guesses at a link's password: who waits, and for how long."""

from __future__ import annotations

from local_cloud.password import MOST_KEPT, Guesses, hashed, is_ticket, matches, ticket


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_wrong_ones_are_free_and_each_further_one_waits_longer() -> None:
    clock = Clock()
    guesses = Guesses(clock)
    waits = []
    for _ in range(16):
        guesses.wrong("link", "address")
        waits.append(guesses.wait_seconds("link", "address"))
        clock.now += waits[-1]

    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert guesses.wait_seconds("link", "address") == 0


def test_a_stranger_who_guesses_does_not_hold_up_others() -> None:
    guesses = Guesses(Clock())
    for _ in range(20):
        guesses.wrong("link", "stranger")

    assert guesses.wait_seconds("link", "stranger") > 0
    assert guesses.wait_seconds("link", "somebody") == 0
    assert guesses.wait_seconds("another link", "stranger") == 0


def test_guesses_from_many_addresses_and_at_many_links_are_slowed_too() -> None:
    guesses = Guesses(Clock())
    for number in range(50):
        guesses.wrong("link", f"address-{number}")
        guesses.wrong(f"link-{number}", "address")

    assert guesses.wait_seconds("link", "fresh") > 0
    assert guesses.wait_seconds("fresh", "address") > 0
    assert guesses.wait_seconds("fresh", "fresh") == 0


def test_the_right_password_and_time_make_it_forget() -> None:
    clock = Clock()
    guesses = Guesses(clock)
    for _ in range(10):
        guesses.wrong("link", "address")
    guesses.right("link", "address")
    assert guesses.wait_seconds("link", "address") == 0
    for _ in range(10):
        guesses.wrong("link", "address")

    clock.now += 3600

    assert guesses.wait_seconds("link", "address") == 0


def test_what_is_remembered_has_an_end() -> None:
    guesses = Guesses(Clock())
    for number in range(MOST_KEPT * 2):
        guesses.wrong("link", f"address-{number}")

    assert len(guesses._wrong) <= MOST_KEPT


def test_a_password_matches_itself_alone() -> None:
    kept = hashed("Größe 漢字")

    assert matches("Größe 漢字", kept)
    assert not any(matches(other, kept) for other in ("", "Größe", "größe 漢字", "x" * 5000, "\ud800"))
    assert kept != hashed("Größe 漢字")


def test_a_ticket_ends() -> None:
    given = ticket("token", "kept", 1000)

    assert is_ticket(given, "token", "kept", 1000 + 12 * 3600 - 1)
    assert not is_ticket(given, "token", "kept", 1000 + 12 * 3600)
    assert not is_ticket(given, "token", "other", 1000)
    assert not is_ticket(given, "other", "kept", 1000)
    assert not any(is_ticket(text, "token", "kept", 1000) for text in ("", ".", "x", "٣.x", "\ud800.\ud800"))
