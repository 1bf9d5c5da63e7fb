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
        """Set switches: the fields of `tests.standins.seafile.service.Switches`."""
        self.control("change", how)

    def restart(self) -> None:
        """The servers forget what they keep in memory: upload links, and the library's password."""
        self.control("restart")

    def reset(self) -> None:
        """As on the first day, so that the next test finds nothing of this one; tokens and library stay the same."""
        self.control("reset")
