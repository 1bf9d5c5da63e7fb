"""The ledger: what has been done, for whom, and what is still owed. A Django app, labelled ``simcourier``.

A program first calls `prepare` (which starts Django) and then imports `ledger.api`, through which it reaches
everything else.
"""

from ledger.site import LedgerUnavailable, make_data_dir, prepare, setup

__all__ = ["LedgerUnavailable", "make_data_dir", "prepare", "setup"]
