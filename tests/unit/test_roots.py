"""Whose results may lie where."""

from __future__ import annotations

import pytest

from messaging.roots import NoRoot, roots_for, seen_by_all
from messaging.settings import WrongSetting, load, require_roots

AMQP = {"SIMCOURIER_BROKER_URL": "amqp://host"}


def roots(text: str) -> tuple[str, ...]:
    return load({"SIMCOURIER_RESULTS_ROOTS": text}).results_roots


@pytest.mark.parametrize("user", ["anna", None])
def test_roots_that_are_bound_to_nobody_are_for_everybody(user: str | None) -> None:
    assert roots_for(roots("/srv/a=b,s3://bucket/a=b"), user) == ("/srv/a=b", "s3://bucket/a=b")


def test_each_user_has_the_roots_of_all_and_the_own_ones() -> None:
    bound = roots("/home/{user}/results, cluster=/scratch, s3://runs/{user}/x, /srv/shared")

    assert roots_for(bound, "anna") == ("/home/anna/results", "s3://runs/anna/x", "/srv/shared")
    assert roots_for(bound, "cluster") == ("/home/cluster/results", "/scratch", "s3://runs/cluster/x", "/srv/shared")


@pytest.mark.parametrize("user", ["..", ".", ".ssh", "a/../bob", "a/b", "", "a\n", "a b", "{user}", "-", "%2e%2e", "ä"])
def test_no_name_leads_out_of_what_is_bound(user: str) -> None:
    with pytest.raises(NoRoot):
        roots_for(roots("/home/{user}"), user)


@pytest.mark.parametrize("text", ["/home/{user}", "anna=/srv", "/srv,anna=/home/anna"])
def test_an_event_of_nobody_is_refused_as_soon_as_one_root_is_bound(text: str) -> None:
    with pytest.raises(NoRoot, match=r"^The broker does not say who published this event.*user_id.*\.$"):
        roots_for(roots(text), None)


def test_a_user_without_a_root_is_told_so() -> None:
    with pytest.raises(NoRoot, match=r"^There is no folder that results of the broker's user 'bob' may come from\.$"):
        roots_for(roots("anna=/srv"), "bob")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/x{user}", "must be one whole part"),
        ("/home/{user}/{user}", "must be one whole part"),
        ("s3://{user}/runs", "not its host or bucket"),
        ("anna=srv", "beginning with /"),
        ("anna=file:///srv", "without file:"),
        ("anna=s3://u:canary-77@h/x", "holds a password"),
        ("=/srv", "names no user"),
    ],
)
def test_what_could_be_understood_in_two_ways_stops_the_start(text: str, told: str) -> None:
    with pytest.raises(WrongSetting) as raised:
        roots(text)

    assert str(raised.value).startswith("SIMCOURIER_RESULTS_ROOTS: ")
    assert told in str(raised.value)
    assert "canary" not in str(raised.value)


def test_roots_are_bound_with_rabbitmq_only() -> None:
    require_roots(load(AMQP | {"SIMCOURIER_RESULTS_ROOTS": "/home/{user}"}))
    with pytest.raises(WrongSetting, match="the embedded broker has no users"):
        require_roots(load({"SIMCOURIER_RESULTS_ROOTS": "anna=/srv"}))


@pytest.mark.parametrize(
    ("root", "looked_at"),
    [("/home/{user}/x", "/home"), ("/{user}", "/"), ("anna=/srv", "/srv"), ("s3://b/{user}", "s3://b"), ("/a", "/a")],
)
def test_what_doctor_looks_at_is_the_part_that_all_have(root: str, looked_at: str) -> None:
    assert seen_by_all(root) == looked_at
