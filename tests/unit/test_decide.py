"""Each row of the table of errors and verdicts."""

from __future__ import annotations

import errno

import pytest

from backends.errors import PermanentError, Superseded, TransientError
from consumer.decide import DAY, HOUR, Abandon, Attempt, Fail, GiveBack, Policy, Wait, decide, is_ours
from consumer.errors import Interrupted, NotNow, Undeliverable

POLICY = Policy(random=lambda: 1.0)
FIRST = Attempt(number=0, failing_seconds=0, trouble_seconds=0)


def test_a_stop_gives_back() -> None:
    assert decide(Interrupted(), FIRST, POLICY) == GiveBack()


def test_a_lost_fence_writes_nothing() -> None:
    assert decide(Superseded(), FIRST, POLICY) == Abandon()


@pytest.mark.parametrize("error", [Undeliverable("no folder"), PermanentError("no folder")])
def test_what_will_not_work_fails_with_its_reason(error: Exception) -> None:
    assert decide(error, FIRST, POLICY) == Fail("no folder")


def test_what_will_pass_waits_uncounted_until_the_limit() -> None:
    error = NotNow("The root is away.", 60)

    assert decide(error, Attempt(0, 0, 13 * DAY), POLICY) == Wait(60, "The root is away.", counted=False)
    verdict = decide(error, Attempt(0, 0, 14 * DAY), POLICY)
    assert isinstance(verdict, Fail)
    assert "14 days" in verdict.reason


def test_a_transient_error_waits_longer_each_time_up_to_an_hour() -> None:
    delays = []
    for number in range(15):
        verdict = decide(TransientError("busy"), Attempt(number, 1, 1), POLICY)
        assert isinstance(verdict, Wait)
        assert verdict.counted
        delays.append(verdict.delay)

    assert delays[:4] == [5, 10, 20, 40]
    assert max(delays) == HOUR == delays[-1]


def test_jitter_halves_at_most() -> None:
    calm = Policy(random=lambda: 0.0)

    assert decide(TransientError("busy"), FIRST, calm) == Wait(2.5, "busy", counted=True)


def test_retry_after_is_honoured_when_it_is_longer() -> None:
    assert decide(TransientError("busy", retry_after=600), FIRST, POLICY) == Wait(600, "busy", counted=True)
    assert decide(TransientError("busy", retry_after=1), FIRST, POLICY) == Wait(5, "busy", counted=True)


def test_failures_are_tried_again_for_more_than_a_day_by_time_not_by_count() -> None:
    assert isinstance(decide(TransientError("busy"), Attempt(100_000, 25 * HOUR, 25 * HOUR), POLICY), Wait)
    verdict = decide(TransientError("busy"), Attempt(3, 26 * HOUR, 26 * HOUR), POLICY)
    assert verdict == Fail("It was tried for 26 hours without success. Last: busy")


def test_a_bug_of_ours_is_tried_again_and_told_without_class_names() -> None:
    verdict = decide(KeyError("x"), FIRST, POLICY)

    assert isinstance(verdict, Wait)
    assert "KeyError" not in verdict.reason
    assert is_ours(KeyError("x"))


def test_a_full_disk_is_told_as_one() -> None:
    verdict = decide(OSError(errno.ENOSPC, "No space left on device"), FIRST, POLICY)

    assert verdict == Wait(5, "The worker's disk is full.", counted=True)
    assert not is_ours(OSError(errno.ENOSPC, "x"))


def test_the_first_failure_after_a_long_wait_is_the_first_of_a_new_row() -> None:
    assert isinstance(decide(TransientError("busy"), Attempt(0, 0, 3 * DAY), POLICY), Wait)


def test_a_service_cannot_ask_for_more_than_a_day() -> None:
    assert decide(TransientError("busy", retry_after=1e300), FIRST, POLICY) == Wait(DAY, "busy", counted=True)
