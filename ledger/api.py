"""The one module through which the consumer programs and the front door reach the ledger, after `ledger.prepare`."""

from backends.errors import Superseded
from ledger.dead_letters import DeadLetterView, dead_letter, dead_letters, file_dead_letter
from ledger.definitions import (
    Definition,
    UnknownBackend,
    define,
    definition,
    definitions,
    mark_healthy,
    mark_unhealthy,
)
from ledger.deliveries import Claim, Deliveries, Ended, Held, OtherBody, owed
from ledger.lookup import DeliveryView, NoticeView, find, recent
from ledger.notifications import NEXT_STEP_AFTER_FAILURE, Notice, Notices, announcement
from ledger.operators import cancel, retry
from ledger.site import LedgerUnavailable
from ledger.states import Kind, NoticeState, Stage, State
from ledger.sweep import Overdue, lock, overdue, stamp

__all__ = [
    "NEXT_STEP_AFTER_FAILURE",
    "Claim",
    "DeadLetterView",
    "Definition",
    "Deliveries",
    "DeliveryView",
    "Ended",
    "Held",
    "Kind",
    "LedgerUnavailable",
    "Notice",
    "NoticeState",
    "NoticeView",
    "Notices",
    "OtherBody",
    "Overdue",
    "Stage",
    "State",
    "Superseded",
    "UnknownBackend",
    "announcement",
    "cancel",
    "dead_letter",
    "dead_letters",
    "define",
    "definition",
    "definitions",
    "file_dead_letter",
    "find",
    "lock",
    "mark_healthy",
    "mark_unhealthy",
    "overdue",
    "owed",
    "recent",
    "retry",
    "stamp",
]
