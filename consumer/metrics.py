"""What a consumer program has counted since its start, for Prometheus; docs/monitoring.md tells the meanings."""

from __future__ import annotations

from itertools import product

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector

from ledger.api import Kind

# From what a tiny delivery takes to an upload of hours.
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
TRIES = (1, 2, 3, 5, 10, 20, 50)

REGISTRY = CollectorRegistry()
"""That of this process."""

ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

HANDLED = Counter(
    "simcourier_deliveries_handled",
    "Tries of deliveries, by verdict: Deliver, Wait, Fail, GiveBack, Abandon.",
    ["verdict"],
    registry=REGISTRY,
)
ATTEMPTS = Histogram(
    "simcourier_delivery_attempts",
    "Tries until a delivery had ended: counted failures in a row, and the last one.",
    buckets=TRIES,
    registry=REGISTRY,
)
DELIVERY_SECONDS = Histogram(
    "simcourier_delivery_seconds",
    "Seconds of a try, from the claim to its verdict.",
    buckets=SECONDS,
    registry=REGISTRY,
)
STAGE_SECONDS = Histogram(
    "simcourier_stage_seconds", "Seconds of a stage, by stage.", ["stage"], buckets=SECONDS, registry=REGISTRY
)
PACKED_BYTES = Counter("simcourier_packed_bytes", "Bytes of archives that were made.", registry=REGISTRY)
STORED_BYTES = Counter(
    "simcourier_stored_bytes",
    "Bytes of archives that a storage service has confirmed, by storage backend.",
    ["backend"],
    registry=REGISTRY,
)
LEASES_LOST = Counter(
    "simcourier_leases_lost", "Claims that were lost to another worker while work was in hand.", registry=REGISTRY
)
OUTCOMES = ("sent", "postponed", "refused", "uncertain", "given_up")
MAILS = Counter(
    "simcourier_mails",
    "Tries of mails, by outcome (sent, postponed, refused, uncertain, given_up) and kind.",
    ["outcome", "kind"],
    registry=REGISTRY,
)

# A counter that appears with its first count has not grown: rules would miss the first failure after a start.
for _verdict in ("Deliver", "Wait", "Fail", "GiveBack", "Abandon"):
    HANDLED.labels(_verdict)
for _outcome, _kind in product(OUTCOMES, Kind):
    MAILS.labels(_outcome, str(_kind))
