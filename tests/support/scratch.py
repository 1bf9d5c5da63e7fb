"""Throw-away folders with processes, free ports, waiting: what the drill uses, for tests."""

from simcourier.drill.scratch import Scratch, find_binary, free_ports, wait_until

__all__ = ["Scratch", "find_binary", "free_ports", "wait_until"]
