"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig


class LedgerConfig(AppConfig):
    """Deliveries, notifications, dead letters, and the definitions of storage backends."""

    name = "ledger"
    label = "simcourier"
    verbose_name = "SimCourier"
    default_auto_field = "django.db.models.BigAutoField"
