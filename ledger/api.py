"""The one module through which the consumer programs and the front door reach the ledger, after `ledger.prepare`."""

from backends.errors import Superseded
from ledger import expiry
from ledger.announcements import NEXT_STEP_AFTER_FAILURE, announcement
from ledger.dead_letters import dead_letters, deaths, file_dead_letter
from ledger.definitions import (
    PROBE_SECONDS,
    Definition,
    UnknownBackend,
    define,
    definition,
    definitions,
    mark_healthy,
    mark_unhealthy,
)
from ledger.deliveries import Claim, Deliveries, Ended, Far, Held, OtherBody
from ledger.digests import Digests
from ledger.errors import LedgerUnavailable
from ledger.expiry import Removal, until_when
from ledger.keeping import Relink, relink_later, relinked, to_relink
from ledger.lookup import DeliveryView, find, recent
from ledger.notifications import (
    MAIL_PATIENCE_SECONDS,
    DeliveryNotice,
    DigestNotice,
    Notice,
    Notices,
    OperatorNotice,
)
from ledger.operators import cancel, retry
from ledger.outcomes import RunOutcome
from ledger.parameters import combination, comparable, tells_replications
from ledger.processes import this_process
from ledger.reminders import remind
from ledger.replay import replayed, to_be_replayed
from ledger.results import Contents, Drawn
from ledger.retention import Keep, forget
from ledger.states import Kind, Stage
from ledger.study import Compared
from ledger.sweep import Overdue, lock, overdue, stamp, unlock
from ledger.telling import LETTERS, MAILS, letter_entry, mail_entry, notify_operator, text_of
from ledger.work import reachable

__all__ = [
    "LETTERS",
    "MAILS",
    "MAIL_PATIENCE_SECONDS",
    "NEXT_STEP_AFTER_FAILURE",
    "PROBE_SECONDS",
    "Claim",
    "Compared",
    "Contents",
    "Definition",
    "Deliveries",
    "DeliveryNotice",
    "DeliveryView",
    "DigestNotice",
    "Digests",
    "Drawn",
    "Ended",
    "Far",
    "Held",
    "Keep",
    "Kind",
    "LedgerUnavailable",
    "Notice",
    "Notices",
    "OperatorNotice",
    "OtherBody",
    "Overdue",
    "Relink",
    "Removal",
    "RunOutcome",
    "Stage",
    "Superseded",
    "UnknownBackend",
    "announcement",
    "cancel",
    "combination",
    "comparable",
    "dead_letters",
    "deaths",
    "define",
    "definition",
    "definitions",
    "expiry",
    "file_dead_letter",
    "find",
    "forget",
    "letter_entry",
    "lock",
    "mail_entry",
    "mark_healthy",
    "mark_unhealthy",
    "notify_operator",
    "overdue",
    "reachable",
    "recent",
    "relink_later",
    "relinked",
    "remind",
    "replayed",
    "retry",
    "stamp",
    "tells_replications",
    "text_of",
    "this_process",
    "to_be_replayed",
    "to_relink",
    "unlock",
    "until_when",
]
