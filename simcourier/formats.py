"""What the reader of a result format needs: ``from simcourier.formats import Format``."""

from consumer.formats.contract import Format, Run, Sink, Statistic

__all__ = ["Format", "Run", "Sink", "Statistic"]
