"""Private throw-away nodes of RabbitMQ and PostgreSQL: what the drill uses, for tests."""

from simcourier.drill.nodes import MissingBinary, PostgresNode, RabbitNode, create_database, drop_database

__all__ = ["MissingBinary", "PostgresNode", "RabbitNode", "create_database", "drop_database"]
