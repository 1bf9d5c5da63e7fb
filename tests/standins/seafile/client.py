"""The stand-in as a test uses it."""

from __future__ import annotations

from typing import Any

from tests.standins.process import StandinProcess


class SeafileStandin(StandinProcess):
    """A Seafile of our own."""

    module = "tests.standins.seafile"

    @property
    def server(self) -> str:
        """Its address."""
        return str(self.facts["server"])

    @property
    def config(self) -> dict[str, str]:
        """A definition's config, with the account's token."""
        return {"token": str(self.facts["token"]), "repoid": str(self.facts["repoid"])}

    @property
    def repo_config(self) -> dict[str, str]:
        """A definition's config, with the library's own token."""
        return {"token": str(self.facts["repo_token"]), "repoid": str(self.facts["repoid"])}

    def change(self, **how: Any) -> None:
        """``encrypted``, ``gone``, ``permission``, ``total`` (quota), ``largest`` of the library; ``two_factor``,
        ``force_days``, ``old_links``, ``link_host``, ``single_use``, ``translated``, ``c_server`` of the service."""
        self.control("change", how)

    def restart(self) -> None:
        """The file server forgets its upload links."""
        self.control("restart")
