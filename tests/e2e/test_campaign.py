"""A parameter study on real processes: one mail for each recipient, with the right intervals, in nobody's way."""

from __future__ import annotations

import csv
import io
import math
import re
import signal
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from itertools import product
from pathlib import Path

import pytest

from tests.support.installation import Installation, fetch, files_below, link_in, text_of, unpacked
from tests.support.scratch import wait_until

ANNA, BERT, CARL = "anna@example.org", "bert@example.org", "carl@example.org"
LOADS = (0.2, 0.5, 0.8)
# Two-sided 95 % quantiles of Student's t by degrees of freedom, from a printed table.
T = {3: 3.182, 49: 2.010}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the study; its results say ``value``."""

    load: float
    seed: int
    value: float
    results: Path

    @property
    def name(self) -> str:
        return f"load-{self.load}-seed-{self.seed}"


def study(folder: Path, loads: tuple[float, ...], seeds: int) -> Iterator[Run]:
    for load, seed in product(loads, range(seeds)):
        value = load / (1 - load) + 0.05 * math.sin(37 * seed + 11 * load)
        run = Run(load, seed, value, folder / f"load-{load}-seed-{seed}")
        yield Run(load, seed, value, results(run.results, value))


def results(folder: Path, value: float) -> Path:
    folder.mkdir(parents=True)
    (folder / "General-#0.sca").write_text(
        f"version 2\nrun General-0\nscalar Net.queue queueLength:timeavg {value!r}\n"
    )
    return folder


def publish(installation: Installation, run: Run, runs: int, to: list[str]) -> str:
    return installation.publish(
        run.results,
        to=to,
        title=run.name,
        simulation_id=run.name,
        campaign="queue-study",
        parameters={"load": run.load, "seed": run.seed},
        campaign_runs=runs,
    )


def to(installation: Installation, recipient: str) -> list[EmailMessage]:
    return [mail for mail in installation.mails() if mail["To"] == recipient]


def attached(mail: EmailMessage) -> list[dict[str, str]]:
    (part,) = mail.iter_attachments()
    return list(csv.DictReader(io.StringIO(part.get_payload(decode=True).decode())))  # type: ignore[union-attr]


def table_of(mail: EmailMessage) -> dict[float, tuple[float, float]]:
    """Mean and half width by load, as the text part tells them."""
    number = r"([\d.]+)"
    rows = re.findall(rf"^{number} +\d+(?: of \d+)? +{number} ±\s{number}", text_of(mail), re.MULTILINE)
    return {float(load): (float(mean), float(half)) for load, mean, half in rows}


def by_definition(values: list[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, T[len(values) - 1] * math.sqrt(variance / len(values))


def test_a_study_is_one_mail_for_each_recipient_and_what_comes_later_another_one(
    installation: Installation, tmp_path: Path
) -> None:
    installation.start_cloud()
    installation.start("worker")
    installation.start("worker", "--no-recorder")
    installation.start("email-sender")
    installation.wait_ready()
    runs = list(study(tmp_path / "study", LOADS, 4))
    both = [ANNA, BERT]
    ids = [publish(installation, run, 13, both) for run in runs]
    lost_id = installation.publish(
        tmp_path / "study",
        to=both,
        campaign="queue-study",
        parameters={"load": 0.8, "seed": 4},
        campaign_runs=13,
        include=["nothing-is-called-so"],
    )
    single = installation.publish(results(tmp_path / "single", 4.5), to=CARL)

    installation.wait_for_mail(single)
    wait_until(lambda: all(to(installation, one) for one in both), "the digests are there")
    installation.wait_until_quiet()
    assert [len(to(installation, one)) for one in (ANNA, BERT, CARL)] == [1, 1, 1]
    for (mail,) in (to(installation, ANNA), to(installation, BERT)):
        assert mail["Subject"] == "queue-study: 12 of 13 runs delivered, 1 not delivered"
        told = {row["delivery"]: row for row in attached(mail)}
        assert set(told) == {*ids, lost_id}
        for event_id, run in zip(ids, runs, strict=True):
            assert unpacked(fetch(told[event_id]["link"])) == files_below(run.results)
            assert float(told[event_id]["queueLength:timeavg, Net.queue"]) == run.value
        assert told[lost_id]["delivered"] == "no"
        assert told[lost_id]["reason"] in text_of(mail)
        for load, (mean, half) in table_of(mail).items():
            expected = by_definition([run.value for run in runs if run.load == load])
            assert mean == pytest.approx(expected[0], abs=0.1 * expected[1])
            assert half == pytest.approx(expected[1], rel=0.05), "it has two digits"
        assert set(table_of(mail)) == set(LOADS)

    def notices() -> list[tuple[str, bool]]:
        view = installation.where(ids[0]) or {"notices": []}
        return [(one["state"], bool(one["digest"])) for one in view["notices"]]

    wait_until(lambda: notices() == [("SENT", True)] * 2, "it is noted that the mails are sent")
    view = installation.where(ids[0])
    assert view is not None

    assert installation.simcourier("deliveries", "resend", ids[0], "--to", CARL).returncode == 0
    again = installation.wait_for_mail(ids[0])
    assert (again["To"], link_in(again)) == (CARL, view["link"])


def test_a_digest_is_sent_once_although_every_worker_on_its_way_was_killed(
    tmp_path: Path, ledger_template: Path
) -> None:
    with Installation(tmp_path / "data", template=ledger_template) as installation:
        installation.start_cloud()
        installation.start("email-sender")
        (run,) = study(tmp_path / "study", (0.5,), 1)
        first = installation.start("worker", "--no-sweep", dies_at="delivery.finished")
        installation.wait_ready()
        event_id = publish(installation, run, 1, [ANNA])
        assert first.wait(120) == -signal.SIGKILL, (
            "its end is written, and nobody has looked whether the study is complete"
        )
        second = installation.start("worker", dies_at="sweep.gathered")
        assert second.wait(120) == -signal.SIGKILL, "the digest is made, and its message is not published"

        installation.start("worker")

        wait_until(lambda: len(to(installation, ANNA)) == 1, "the digest")
        installation.wait_until_quiet()
        (mail,) = to(installation, ANNA)
        assert [row["delivery"] for row in attached(mail)] == [event_id]


@pytest.mark.full
def test_a_study_of_200_runs_is_one_digest_and_holds_up_nobody(installation: Installation, tmp_path: Path) -> None:
    installation.start_cloud()
    installation.start("worker")
    installation.start("email-sender")
    installation.wait_ready()
    singles = iter([results(tmp_path / f"single-{number}", number) for number in range(400)])
    follow(installation, next(singles))  # whatever is done once
    usual = [follow(installation, next(singles)) for _ in range(20)]

    runs = list(study(tmp_path / "study", (0.2, 0.4, 0.6, 0.8), 50))
    begun = time.monotonic()
    ids = [publish(installation, run, 200, [ANNA]) for run in runs]
    meanwhile = []
    while not to(installation, ANNA):
        meanwhile.append(follow(installation, next(singles)))
    seconds = time.monotonic() - begun
    installation.wait_until_quiet()

    (mail,) = to(installation, ANNA)
    assert mail["Subject"] == "queue-study: 200 runs delivered"
    assert sorted(row["delivery"] for row in attached(mail)) == sorted(ids)
    told = table_of(mail)
    for load in (0.2, 0.4, 0.6, 0.8):
        mean, half = by_definition([run.value for run in runs if run.load == load])
        assert told[load][0] == pytest.approx(mean, abs=0.1 * half)
        assert told[load][1] == pytest.approx(half, rel=0.05)
    print(f"\n200 runs in {seconds:.1f} s; single runs: usually {line(usual)}; meanwhile {line(meanwhile)}")
    assert len(meanwhile) > 25, "single runs, each published after the last one's mail, pass the study's by"


def follow(installation: Installation, folder: Path) -> float:
    """Seconds from the published event of a single run to its mail."""
    begun = time.time()
    event_id = installation.publish(folder, to=CARL, title=folder.name)
    wait_until(lambda: arrived(installation, folder.name) > 0, f"a mail about {event_id}", 60, 0.01)
    return arrived(installation, folder.name) - begun


def arrived(installation: Installation, title: str) -> float:
    """When the mail about a run was written; 0: not yet."""
    for file in installation.mail_folder.glob("*.eml"):
        with file.open("rb") as stream:
            head = stream.read(2000)
        if f"Results ready: {title}\r\n".encode() in head:
            return file.stat().st_mtime
    return 0


def line(latencies: list[float]) -> str:
    cuts = statistics.quantiles(latencies, n=10)
    return (
        f"mean {statistics.fmean(latencies):.3f} s, median {statistics.median(latencies):.3f} s, "
        f"90 % {cuts[-1]:.3f} s, at most {max(latencies):.3f} s ({len(latencies)} runs)"
    )
