"""A port that leads to a server, and to which connections break: what the drill uses, for tests."""

from simcourier.drill.relay import Relay

__all__ = ["Relay"]
