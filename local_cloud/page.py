"""The pages behind a link: what is there, what is inside, and why not."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from local_cloud import preview
from local_cloud.download import PROTECTED
from local_cloud.errors import Problem, Refusal
from local_cloud.record import Record
from local_cloud.sizes import readable
from local_cloud.zip_entry import Unpacking
from local_cloud.zip_format import Broken, Entry, NoArchive
from local_cloud.zip_index import Archive, File, Folder, Indexes

ROWS = 200  # lines of the list on one page
DEEPEST = 6  # folders within folders on one page
UNFOLDED = 40  # lines in folders that are open at once; others open when they are touched
MOST_UNFOLDED = 12  # in one folder
GALLERY = 6  # pictures that are shown without being asked for
LARGEST_IN_GALLERY = 4 * 1024 * 1024
LONGEST_NUMBER = 18  # digits

HEADINGS = {
    Problem.GONE: "This link has ended",
    Problem.NOT_FOUND: "There is nothing here",
    Problem.PASSWORD: "This link is protected",
    Problem.TOO_MANY_GUESSES: "Please wait a moment",
    Problem.DAMAGED: "This file cannot be taken out",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What part of the page is wanted.

    Args:
        folder: its path, empty or with a slash at the end.
        after: begin the list behind this path.
        show: path of the file to look into.
        copy: which one of those with this path.
    """

    folder: str = ""
    after: str = ""
    show: str = ""
    copy: int = 1


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list: a file, or a folder with what is in it.

    Args:
        inside: lines below it; None: it is a file, or a folder that has its own page.
        unfolded: they can be seen at once.
        look: address of the page that shows it; empty: it cannot be shown.
        load: address of the file alone.
        shown: what is shown of it, if it was asked for.
    """

    name: str
    path: str
    size: str
    count: int = 0
    is_folder: bool = False
    is_picture: bool = False
    inside: list[Row] | None = None
    unfolded: bool = False
    look: str = ""
    load: str = ""
    odd: str = ""
    refused: str = ""
    modified: datetime | None = None
    shown: Any = None


class Pages:
    """Renders pages.

    Args:
        indexes: where archives are opened.
    """

    def __init__(self, indexes: Indexes) -> None:
        self._indexes = indexes
        self._templates = Environment(
            loader=PackageLoader("local_cloud"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        folder = Path(__file__).parent / "templates"
        style, script = ((folder / name).read_text("utf-8") for name in ("page.css", "page.js"))
        # Inline and named by digest: nothing else can be a style or a script, whatever stands in the page.
        self._templates.globals |= {"style": Markup(style), "script": Markup(script)}  # noqa: S704 - our own files
        self._policy = (
            f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; img-src 'self' data:; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )

    def response(self, html: str, refusal: Refusal | None = None) -> web.Response:
        """A page as an answer."""
        headers = PROTECTED | {"Content-Security-Policy": self._policy, "Cross-Origin-Opener-Policy": "same-origin"}
        status = 200
        if refusal is not None:
            status, headers = refusal.problem.status, headers | dict(refusal.headers)
            # A browser would ask in a window of its own, before it shows the form.
            status = 403 if refusal.problem is Problem.PASSWORD else status
        return web.Response(text=html, status=status, content_type="text/html", headers=headers)

    def of_refusal(self, refusal: Refusal) -> str:
        """The page that says why not; with a form, where a password would help."""
        return self._templates.get_template("refusal.html.j2").render(
            heading=HEADINGS.get(refusal.problem, "This did not work"),
            sentence=str(refusal),
            problem=refusal.problem.name,
        )

    def of_file(self, record: Record, path: Path, asked: Asked) -> str:
        """The page of a file.

        Raises:
            Refusal: there is no such folder or file in it.
        """
        values: dict[str, Any] = {
            "title": record.title or record.name,
            "name": record.name,
            "size": readable(record.size),
            "exact_size": f"{record.size:,} bytes",
            "sha256": record.sha256,
            "stored": _moment(record.stored),
            "expires": _moment(record.expires) if record.expires else None,
            "inside": None,
            "trouble": "",
        }
        try:
            with self._indexes.open(path, record.sha256) as archive:
                values["inside"] = _Inside(archive, asked).values()
        except NoArchive:
            if record.name.lower().endswith(".zip"):
                values["trouble"] = "The archive is damaged, or is none: its list of files is missing."
        except Broken as error:
            values["trouble"] = str(error)
        except FileNotFoundError as error:
            raise Refusal(Problem.NOT_FOUND) from error
        return self._templates.get_template("file.html.j2").render(values)


class _Inside:
    """What is shown of an archive's inside."""

    def __init__(self, archive: Archive, asked: Asked) -> None:
        if not asked.folder:
            asked = replace(asked, folder=_first_choice(archive))
        self._archive = archive
        self._asked = asked
        self._left = ROWS
        self._unfolded = 0
        self._here = {name: value for name, value in (("folder", asked.folder), ("after", asked.after)) if value}

    def values(self) -> dict[str, Any]:
        asked, archive = self._asked, self._archive
        if asked.folder and not asked.folder.endswith("/"):
            raise Refusal(Problem.NOT_FOUND, "There is no such folder in the archive.")
        whole, folder = archive.folder(""), archive.folder(asked.folder)
        children = list(islice(archive.children(asked.folder, asked.after), ROWS + 1))
        if asked.folder and not children and not asked.after and not folder.count:
            raise Refusal(Problem.NOT_FOUND, "There is no such folder in the archive.")
        rows = self._rows(children[:ROWS], 0)
        apart = None
        if asked.show and not any(row.shown for row in _all(rows)):
            entry = archive.find(asked.show, asked.copy)
            if entry is None:
                raise Refusal(Problem.NOT_FOUND, "There is no such file in the archive.")
            apart = self._file(File(entry, asked.copy))
        pictures = [row for row in _all(rows) if row.is_picture and row.look and row is not apart]
        return {
            "count": whole.count,
            "size": readable(whole.size),
            "warnings": archive.index.warnings,
            "folder": folder,
            "folder_size": readable(folder.size),
            "crumbs": [(name, f"?{urlencode({'folder': path})}") for name, path in _parents(asked.folder)],
            "rows": rows,
            "apart": apart,
            "pictures": pictures[:GALLERY] if not asked.show else [],
            "more": "?" + urlencode({"folder": asked.folder, "after": _path(children[ROWS - 1])})
            if len(children) > ROWS
            else "",
            "after": asked.after,
        }

    def _rows(self, children: list[Folder | File], depth: int) -> list[Row]:
        """Files first, then folders, in the order of people: 2 before 10."""
        self._left -= len(children)
        folders = sorted((one for one in children if isinstance(one, Folder)), key=lambda one: _natural(one.name))
        files = sorted((one for one in children if isinstance(one, File)), key=lambda one: _natural(one.entry.name))
        return [self._file(one) for one in files] + [self._folder(one, depth) for one in folders]

    def _folder(self, folder: Folder, depth: int) -> Row:
        inside = None
        unfolded = folder.count <= MOST_UNFOLDED and self._unfolded + folder.count <= UNFOLDED
        self._unfolded += folder.count * unfolded
        if folder.count <= self._left and depth < DEEPEST:
            children = list(islice(self._archive.children(folder.path), self._left + 1))
            if len(children) <= self._left:
                inside = self._rows(children, depth + 1)
        return Row(
            name=folder.name,
            path=folder.path,
            size=readable(folder.size),
            count=folder.count,
            is_folder=True,
            inside=inside,
            unfolded=unfolded or self._asked.show.startswith(folder.path),
            look=f"?{urlencode({'folder': folder.path})}",
        )

    def _file(self, file: File) -> Row:
        entry = file.entry
        copy = {"copy": str(file.copy)} if file.copy > 1 else {}
        can_be_shown = not entry.refused and preview.can_be_shown(entry.name, entry.size)
        is_shown = self._asked.show == entry.path and self._asked.copy == file.copy
        odd = entry.odd if file.copy == 1 else "Another file with the same name; unpacking keeps only one of them."
        return Row(
            name=entry.name,
            path=entry.path,
            size=readable(entry.size),
            is_picture=can_be_shown and preview.is_picture(entry.name, entry.size) and entry.size <= LARGEST_IN_GALLERY,
            look=self._look(entry, copy, is_shown) if can_be_shown else "",
            load="" if entry.refused else f"?{urlencode({'file': entry.path} | copy)}",
            odd=odd,
            refused=entry.refused,
            modified=entry.modified,
            shown=self._shown(file) if is_shown else None,
        )

    def _look(self, entry: Entry, copy: dict[str, str], is_shown: bool) -> str:
        query = self._here if is_shown else self._here | {"show": entry.path} | copy
        return f"?{urlencode(query)}" + "#shown" * (not is_shown)

    def _shown(self, file: File) -> Any:
        entry = file.entry
        if entry.refused:
            return preview.Nothing(entry.refused)
        if preview.is_picture(entry.name, entry.size):
            return preview.Picture()
        if not entry.size:
            return preview.Nothing("It is empty.")
        if not preview.can_be_shown(entry.name, entry.size):
            return preview.Nothing("Nothing of it can be shown here; download it to look at it.")
        try:
            unpacking = Unpacking(self._archive.handle, entry, self._archive.index.directory)
            begin = bytearray()
            while len(begin) < preview.needed(entry.name) and (piece := unpacking.read()):
                begin += piece
        except Broken as error:
            return preview.Nothing(str(error))
        looked_at = bytes(begin[: preview.needed(entry.name)])
        return preview.preview(entry.name, looked_at, len(looked_at) == entry.size)


def _moment(text: str) -> dict[str, str]:
    moment = datetime.fromisoformat(text).astimezone(UTC)
    return {
        "machine": moment.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "day": f"{moment:%-d %B %Y}",
        "text": f"{moment:%-d %B %Y, %H:%M} UTC",
    }


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Numbers in a name count as numbers."""
    parts, digits = [], ""
    for c in f"{name.casefold()}\0":
        if c.isascii() and c.isdigit() and len(digits) < LONGEST_NUMBER:
            digits += c
            continue
        if digits:
            parts.append((0, int(digits), ""))
            digits = ""
        parts.append((1, 0, c))
    return parts


def _first_choice(archive: Archive) -> str:
    """Where the list begins: a folder that is alone, and too long to be shown in place, is passed over."""
    path = ""
    for _ in range(DEEPEST):
        match list(islice(archive.children(path), 2)):
            case [Folder() as only] if only.count > ROWS:
                path = only.path
            case _:
                break
    return path


def _all(rows: list[Row]) -> Iterator[Row]:
    for row in rows:
        yield row
        yield from _all(row.inside or [])


def _parents(folder: str) -> Iterator[tuple[str, str]]:
    path = ""
    for name in folder.split("/")[:-1]:
        path += f"{name}/"
        yield name, path


def _path(child: Folder | File) -> str:
    return child.path if isinstance(child, Folder) else child.entry.path
