"""What a storage plugin needs: ``from simcourier.plugins import Backend``."""

from backends.contract import Archive, Backend, Json, Link, Progress, Status, Stored
from backends.errors import BackendError, PermanentError, Superseded, TransientError

__all__ = [
    "Archive",
    "Backend",
    "BackendError",
    "Json",
    "Link",
    "PermanentError",
    "Progress",
    "Status",
    "Stored",
    "Superseded",
    "TransientError",
]
