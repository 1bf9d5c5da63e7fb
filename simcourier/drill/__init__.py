"""The rehearsal of faults behind ``simcourier drill``, the tests' chaos suite and ``benchmarks/chaos.py``.

A `stage.Stage` is a private installation of real processes. Faults are played on it, and `checks` counts from outside
what arrived: mails at a real SMTP server, and the bytes behind the links in them. docs/adr/0015 says why it is so.
"""
