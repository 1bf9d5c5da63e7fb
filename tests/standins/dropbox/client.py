"""The stand-in as a test uses it."""

from __future__ import annotations

from typing import Any

from tests.standins.process import StandinProcess


class DropboxStandin(StandinProcess):
    """A Dropbox of our own, reached by the real SDK through its host variables, which it reads when imported."""

    module = "tests.standins.dropbox"

    @property
    def environment(self) -> dict[str, str]:
        """For the process that imports the SDK."""
        hosts = ("DROPBOX_API_HOST", "DROPBOX_API_CONTENT_HOST", "DROPBOX_API_NOTIFY_HOST", "DROPBOX_WEB_HOST")
        ca = self.facts["ca"]
        return dict.fromkeys(hosts, self.facts["address"]) | {"REQUESTS_CA_BUNDLE": ca, "SSL_CERT_FILE": ca}

    @property
    def config(self) -> dict[str, str]:
        """A definition's config."""
        return {name: str(self.facts[name]) for name in ("app_key", "app_secret", "refresh_token")}

    def plan(self, **how: Any) -> None:
        """``paid``: links may end; ``allocated``: bytes of the account."""
        self.control("plan", how)

    def revoke(self) -> None:
        """The user disconnects the app."""
        self.control("revoke")
