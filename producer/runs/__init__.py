"""Simulations that are run by us: ``simcourier run`` and, inside a Python simulation, ``with run(...)``."""
