"""What the ledger keeps of the results themselves: what is in the archive, and a plot or two."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.models import Delivery


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in an archive.

    Args:
        files: how many files of the results, of ``bytes`` in all.
        names: of the first ones.
        summary: the folder with the report; empty: there is none.
    """

    files: int
    bytes: int
    names: tuple[str, ...]
    summary: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A plot of the results.

    Args:
        title: what is shown, and where in the model.
        note: its numbers in a few words.
        alt: what can be seen on it.
        png: the picture.
    """

    title: str
    note: str
    alt: str
    png: bytes


def contents_of(delivery: Delivery) -> Contents | None:
    """What is in the archive; None: that was not written down."""
    kept = delivery.contents
    if not kept:
        return None
    return Contents(kept["files"], kept["bytes"], tuple(kept["names"]), kept["summary"])


def pictures_of(delivery: Delivery) -> list[Drawn]:
    """Its plots, the one that says most first."""
    return [Drawn(row.title, row.note, row.alt, bytes(row.png)) for row in delivery.pictures.all()]
