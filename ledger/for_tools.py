"""A Django settings module for tools that want one by name (the type checker); the programs call `ledger.site`."""

from ledger.site import site_settings
from messaging.settings import Settings

globals().update(site_settings(Settings.model_validate({"secret_key": "only for looking at types, never for a site"})))
