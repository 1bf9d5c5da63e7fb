"""The ledger: what has been done, for whom, and what is still owed. A Django app, labelled ``simcourier``.

A program first calls `prepare` (which starts Django) and then imports `ledger.api`, through which it reaches
everything else.
"""

from ledger.errors import LedgerRefused, LedgerUnavailable
from ledger.site import make_data_dir, prepare, prepare_in_time, setup

__all__ = ["LedgerRefused", "LedgerUnavailable", "make_data_dir", "prepare", "prepare_in_time", "setup"]
