"""One form for each mail address."""

from __future__ import annotations

import pytest

from messaging.mailboxes import one_form, why_not


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("Anna@Example.ORG", "Anna@example.org"),
        ("anna@exämple.org", "anna@xn--exmple-cua.org"),
        ("anna@EXÄMPLE.org", "anna@xn--exmple-cua.org"),
        ("anna@XN--EXMPLE-CUA.org", "anna@xn--exmple-cua.org"),
        ("anna@例え。テスト", "anna@xn--r8jz45g.xn--zckzah"),
        ("no address", "no address"),
    ],
)
def test_an_address_has_its_domain_in_small_letters_of_ascii(address: str, expected: str) -> None:
    assert one_form(address) == expected
    assert one_form(one_form(address)) == expected
    assert not why_not(one_form(address))


@pytest.mark.parametrize(
    "address",
    [
        "anna@straße.example",
        "anna@ex\u2100mple.org",  # becomes a/c
        "anna@exä..org",
        f"anna@{'ä' * 64}.org",
        f"anna@{'.'.join(['ä'] * 80)}.org",
        "anna@ä\u200d.org",
    ],
)
def test_a_domain_without_a_sure_spelling_in_ascii_stays_and_the_reason_is_told(address: str) -> None:
    assert one_form(address) == address
    assert "xn--" in why_not(address)


def test_letters_beyond_ascii_before_the_at_are_told() -> None:
    assert one_form("üñ@EXAMPLE.org") == "üñ@example.org"
    assert "before the @" in why_not("üñ@example.org")
