"""Made-up mails of every kind, to look at: a delivery that never was."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np

from consumer.report import charts, picture
from consumer.statistics.model import Trace
from ledger.api import (
    LETTERS,
    MAILS,
    Compared,
    Contents,
    DeliveryNotice,
    DigestNotice,
    Drawn,
    Kind,
    Notice,
    OperatorNotice,
    RunOutcome,
    letter_entry,
    mail_entry,
    text_of,
)
from messaging.digits import amount, with_unit
from messaging.messages import Completed

_ENDED = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
_LOG = """Running... [rho0.8, repetition 3]
** Event #196608   t=71483.21   Elapsed: 4.2s
<!> Error: Buffer of 'Mm1.queue' is full -- in module (Queue) Mm1.queue (id=3), at t=71502.07s, event #196744"""
_STATISTICS = (
    Compared("Simulated time", "27.78 h", "s", 100_000.0),
    Compared("lifeTime, Mm1.sink, mean", "4.943 s", "s", 4.943, 4, 4.812, 4.987, 5.131),
    Compared("queueLength, Mm1.queue, mean over time", "3.243", "", 3.243, 4, 2.981, 3.07, 3.144),
    Compared("utilization, Mm1.server", "0.8006", "", 0.8006, 4, 0.7969, 0.8002, 0.8031),
    Compared("dropped:count, Mm1.queue", "0", "", 0.0, 4, 0.0, 0.0, 0.0),
)


_BERT, _CARLA = "bert@example.org", "carla@example.org"
_NOBODY = "The mail server did not accept the recipient: 550 5.1.1 no such user here"
_FULL = "The mail server did not accept the recipient: 452 4.2.2 the mailbox is full"
_TO_OPERATORS = {
    "operator-mails": (
        MAILS,
        mail_entry(_BERT, "with the link", _NOBODY, [uuid5(NAMESPACE_URL, _BERT)], 1),
        mail_entry(_CARLA, "digest", _FULL, [uuid5(NAMESPACE_URL, f"{number}") for number in range(10)], 200),
    ),
    "operator-letters": (
        LETTERS,
        letter_entry(
            7, "simcourier.results.single.v1", "cluster", "The type 'simulation.completed.v9' is not known here."
        ),
    ),
}


def sample(kind: str, recipient: str) -> Notice:
    """A notification of one of `consumer.mail.commands.KINDS`."""
    if kind in _TO_OPERATORS:
        about, *entries = _TO_OPERATORS[kind]
        return OperatorNotice(**_common("operator", recipient), about=about, text=text_of(about, *entries))
    if kind == "operator":
        text = (
            "Dropbox has refused the token of the storage backend 'dropbox-group': it was revoked.\n\nDeliveries that "
            "go there wait. Make a new token, put it into the definition, and see whether it works:\n\n"
            "    simcourier backends check dropbox-group"
        )
        return OperatorNotice(**_common(kind, recipient), about="storage backend dropbox-group", text=text)
    if kind.startswith("digest"):
        return _digest(kind, recipient)
    failed = kind == "delivered-failed"
    event = Completed.model_validate(
        {
            "simulation_id": "mm1-rho0.8-rep3",
            "title": "M/M/1, load 0.8, repetition 3",
            "simulator": "OMNeT++",
            "outcome": "failed" if failed else "succeeded",
            "exit_code": 1 if failed else 0,
            "started": _ENDED - timedelta(hours=2, minutes=13),
            "finished": _ENDED,
            "host": "node17",
            "log_tail": _LOG if failed or kind == "failed" else "",
            "results": {"location": "file:///scratch/anna/mm1"},
            "backend": "local",
            "recipients": [recipient],
        }
    )
    return DeliveryNotice(
        **_common(kind, recipient),
        delivery_id=UUID(int=2),
        event=event,
        keep_until=(_ENDED + timedelta(days=30)).date(),
        link="" if kind == "failed" else "https://files.example.org/f/Jx3f0cQm7Zk/mm1.zip",
        link_expires=None,
        archive_name="M M 1, load 0.8, repetition 3.zip",
        archive_size=13_842_112,
        archive_sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        warnings=("core.4711: not readable by this worker's user.",) if failed else (),
        notes=("1 file ends in the middle: rho0.8-3.vec. Was the simulation killed? What is whole was read.",)
        if failed
        else (),
        statistics=() if kind == "failed" else _STATISTICS,
        contents=Contents(3, 41_288_330, ("rho0.8-3.sca", "rho0.8-3.vec", "omnetpp.ini"), "summary"),
        picture=_drawn(),
        page="/d/Wk9Tn2vPq0aJm5RxUe7sYh3LbC1dFg8Z/",
        ended_at=_ENDED,
        stage="storing" if kind == "failed" else "",
        reason="The account at Dropbox has no room for 13.2 MiB more, and nobody has made any for 14 days."
        if kind == "failed"
        else "",
    )


def _digest(kind: str, recipient: str) -> DigestNotice:
    """M/M/1 with four loads, two buffers and ten seeds each; one run is missing, two could not be delivered."""
    chance = np.random.default_rng(7)
    runs = []
    for number, (load, buffer, seed) in enumerate(product((0.2, 0.5, 0.8, 0.9), (10, 100), range(10))):
        lost = number in {23, 77} and kind == "digest"
        event = Completed.model_validate(
            {
                "simulation_id": f"mm1-rho{load}-k{buffer}-seed{seed}",
                "title": f"M/M/1, load {load}, buffer {buffer}, seed {seed}",
                "simulator": "OMNeT++",
                "outcome": "failed" if number == 41 else "succeeded",  # noqa: PLR2004 - one of them
                "exit_code": 139 if number == 41 else 0,  # noqa: PLR2004
                "results": {"location": "file:///scratch/anna/mm1"},
                "backend": "local",
                "recipients": [recipient],
                "campaign": {
                    "id": "mm1-study",
                    "parameters": {"load": load, "buffer": buffer, "policy": "fifo", "seed": seed},
                    "runs": 80,
                },
            }
        )
        waiting = load / (1 - load) * (1 + 0.04 * float(chance.normal()))
        runs.append(
            RunOutcome(
                delivery_id=UUID(int=100 + number),
                kind=Kind.FAILED if lost else Kind.REMINDER if kind == "digest-reminder" else Kind.DELIVERED,
                event=event,
                reason="The account at Dropbox has no room, and nobody has made any for 14 days." if lost else "",
                statistics=() if lost else tuple(_told(waiting, load, 2 * load ** (buffer / 10), chance)),
                notes=("1 file ends in the middle: results.vec. Was the simulation killed? What is whole was read.",)
                if number == 41  # noqa: PLR2004
                else (),
                warnings=(),
                link="" if lost else f"https://files.example.org/f/{number:012x}/mm1.zip",
                link_expires=None,
                archive_name="" if lost else f"mm1-{number}.zip",
                archive_size=0 if lost else 1_384_211,
                archive_sha256="" if lost else f"{number:064x}",
                keep_until=None if lost else (_ENDED + timedelta(days=30)).date(),
                page=f"/d/Wk9Tn2vPq0aJm5RxUe7sYh3LbC1d{number:04}/",
            )
        )
    return DigestNotice(**_common(kind, recipient), campaign="mm1-study", runs=80, outcomes=tuple(runs))


def _told(waiting: float, load: float, dropped: float, chance: np.random.Generator) -> Iterator[dict[str, Any]]:
    for label, unit, value in (
        ("lifeTime, Mm1.sink, mean", "s", waiting / load),
        ("queueLength, Mm1.queue, mean over time", "", waiting),
        ("utilization, Mm1.server", "", load * (1 + 0.01 * float(chance.normal()))),
        ("dropped:count, Mm1.queue", "", float(chance.poisson(dropped))),
    ):
        yield {"label": label, "value": with_unit(value, unit), "number": value, "unit": unit}


def _common(kind: str, recipient: str) -> dict[str, Any]:
    return {
        "id": UUID(int=1),
        "fence": 1,
        "recipient": recipient,
        "kind": Kind(kind.rpartition("-")[2] if kind.startswith("digest") else kind.partition("-")[0]),
        "attempts": 0,
        "trouble_seconds": 0.0,
        "uncertain": 0,
    }


def _drawn() -> Drawn:
    """A queue's length, the same each time."""
    steps = np.random.default_rng(35).choice([-1.0, 1.0], 4000, p=[0.56, 0.44])
    level = np.zeros(4000)
    for place in range(1, 4000):
        level[place] = max(0.0, level[place - 1] + steps[place])
    spans = level.reshape(250, 16)
    trace = Trace(0.0, 400.0, spans[:, 0].copy(), spans.min(1), spans.max(1))
    mean = float(level.mean())
    chart = charts.course(trace, style="steps", mark=charts.Line(mean, f"mean {amount(mean)}"))
    return Drawn(
        "queueLength, Mm1.queue", f"4000 samples, largest {level.max():.0f}", chart.description, picture.png(chart)
    )
